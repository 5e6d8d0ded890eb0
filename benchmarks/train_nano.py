"""Trains what ships with nano on: its UNet and ControlNets, segmenters and removers, from portraits alone.

    python -m benchmarks.train_nano --portraits DIR --manifest FILE --only "train: yes" --work DIR [--minutes N]

The stages are ``people`` and ``datasets``, which need CPUs, and ``segmenters``, ``backbone`` and ``removers``, which
train. Each is skipped once its result exists, and an interrupted one resumes, so people and datasets can be made on one
machine and the rest on another that has a GPU (`--stages backbone removers`). The backbone starts from the shipped one.
`--minutes` is the time for all training of removers: a short trial measures the speed of each training, and the number
of steps follows from it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from toolkit.cli.console import out
from toolkit.files import atomic
from toolkit.finetune import FinetuneConfig, finetune
from toolkit.finetune.recipes import find_recipe
from toolkit.finetune.report import FinetuneObserver

STAGES = ("people", "datasets", "segmenters", "backbone", "removers")
PEOPLE = ("--photos", "0.45", "--frames", "2", "--size", "528", "--seed", "100")
"""Faces of 240 pixels, as in crops of 384. Two frames of each person: more people teach more than more frames do."""
DATASET = ("--clip-length", "2", "--min-clip-length", "2", "--validation-fraction", "0.04")
TASKS = {"glasses": ("--task-option", "pairs=render"), "stickers": ()}
"""Task -> options of its datasets. Its recipe has its name."""
SIDES = (384, 256)
"""Sides of the datasets' pictures: the first for regions and removers, the second for whole crops."""
WHOLE_CROPS = ("inpaint", "tile")
"""Stages of the backbone that follow ``regions``."""
TRIAL, WARM_UP = 24, 8
"""Steps of a trial, and those that its timing leaves out."""


class Training(BaseModel):
    """What is trained, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path
    manifest: Path | None
    only: str | None
    work: Path
    clips: int
    minutes: float | None
    device: str

    @property
    def sources(self) -> list[str]:
        """The portraits, as flags of a command."""
        named = {"--portraits": self.portraits, "--manifest": self.manifest, "--only": self.only}
        return [str(part) for flag, value in named.items() if value is not None for part in (flag, value)]

    @property
    def seconds(self) -> float | None:
        """Time for each remover's training; None if there is no limit."""
        return None if self.minutes is None else 60 * self.minutes / len(TASKS)

    def dataset(self, task: str, side: int) -> Path:
        """The folder of a dataset."""
        return self.work / f"{task}-{side}"

    @property
    def backbone(self) -> Path:
        """The folder of the backbone."""
        return self.work / "backbone"


def people(training: Training) -> None:
    """Make the people that the datasets show."""
    output = str(training.work / "people")
    _toolkit("make-people", *training.sources, *PEOPLE, "--clips", str(training.clips), "--output", output)


def datasets(training: Training) -> None:
    """Draw each attribute on them."""
    for task, side in [(task, side) for task in TASKS for side in SIDES]:
        output = training.dataset(task, side)
        if not (output / "manifest.json").is_file():
            made = ("--videos", str(training.work / "people"), "--output", str(output), "--allow-failures")
            _toolkit("build-dataset", "--task", task, *TASKS[task], *made, *DATASET, "--resolution", str(side))


def segmenters(training: Training) -> None:
    """Train the networks that find the attributes, on samples of their own."""
    for task in TASKS:
        output = training.work / f"{task}-segmenter.safetensors"
        if not output.is_file():
            module = f"attributes.{task}.segmenter.train"
            work = ("--work", str(training.work / f"{task}-segmenter"), "--output", str(output))
            _run(module, *training.sources, *work)


def backbone(training: Training) -> None:
    """Train the shipped backbone on: its UNet and tile ControlNet on regions, then the ControlNets of whole crops."""
    if not training.backbone.is_dir():
        with as_file(files("toolkit.backbones") / "data" / "nano") as shipped, atomic(training.backbone) as staged:
            shutil.copytree(shipped, staged, dirs_exist_ok=True)
    for stage in ("regions", *WHOLE_CROPS):
        side = SIDES[stage in WHOLE_CROPS]
        data = [str(training.dataset(task, side)) for task in TASKS]
        device = ("--device", "cpu") if training.device == "cpu" else ()
        output = ("--output", str(training.backbone))
        _toolkit("pretrain", "nano", "--stage", stage, "--data", *data, *output, *device)


def removers(training: Training) -> None:
    """Finetune the removers with their recipes."""
    for name in TASKS:
        output = training.work / f"{name}-remover"
        if (output / "remover.json").is_file():
            continue
        values = {
            "recipe": name,
            "data": [training.dataset(name, SIDES[0])],
            "backbone": str(training.backbone),
            "report_to": "none",
            "resume_from_checkpoint": "latest",
            "cpu": training.device == "cpu",
        }
        limit = training.seconds
        steps = None if limit is None else affordable(values, training.work / f"{name}-trial", limit)
        recipe = find_recipe(name).read()
        if steps is not None and steps < recipe["max_train_steps"]:
            values["max_train_steps"] = steps
        out.print(f"{name}: {values.get('max_train_steps', recipe['max_train_steps'])} steps")
        finetune(FinetuneConfig.model_validate(values | {"output": output}))


def affordable(values: dict, folder: Path, seconds: float) -> int:
    """Number of steps that fit in that time, told from a trial of a few."""
    watch = _Watch()
    shutil.rmtree(folder, ignore_errors=True)
    trial = {"output": folder, "max_train_steps": TRIAL, "validation": {"validation_samples": 1}}
    finetune(FinetuneConfig.model_validate({**values, **trial, "resume_from_checkpoint": None}), watch)
    shutil.rmtree(folder)
    return max(1, int(0.9 * seconds / watch.seconds_per_step))  # the rest is for validation


class _Watch(FinetuneObserver):
    """Times steps."""

    def __init__(self) -> None:
        self._started, self.seconds_per_step = 0.0, 0.0

    def advance(self, done: int, **figures: float) -> None:
        if done == WARM_UP:
            self._started = time.perf_counter()
        elif done > WARM_UP:
            self.seconds_per_step = (time.perf_counter() - self._started) / (done - WARM_UP)


def _toolkit(*arguments: str) -> None:
    _run("toolkit", *arguments)


def _run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_nano", description=__doc__.split("\n\n")[0])
    parser.add_argument("--portraits", type=Path, required=True, help="Folder of portraits (.jpg, .png).")
    parser.add_argument("--manifest", type=Path, help="CSV file that lists the portraits to use in a column `file`.")
    parser.add_argument("--only", help="Use only the rows of the manifest whose column `use` holds this text.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for everything that is made.")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--clips", type=int, default=1500, help="Number of people.")
    parser.add_argument("--minutes", type=float, help="Time for the removers; if unset, the recipes' steps are run.")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    args = vars(parser.parse_args())
    stages = args.pop("stages")
    training = Training(**args)
    training.work.mkdir(parents=True, exist_ok=True)
    for name in STAGES:
        if name in stages:
            out.print(f"stage: {name}")
            {f.__name__: f for f in (people, datasets, segmenters, backbone, removers)}[name](training)


if __name__ == "__main__":
    main()
