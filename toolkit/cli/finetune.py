"""``toolkit finetune``: datasets of pairs in, a remover out."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.console import err, out
from toolkit.cli.options import add_arguments, read_grouped
from toolkit.finetune.config import GROUPS, FinetuneConfig
from toolkit.finetune.report import FinetuneObserver, FinetuneReport

if TYPE_CHECKING:
    from toolkit.finetune.datasets import TrainingSet

_LINE_SECONDS = 30
"""Between two lines of progress where there is no terminal."""


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """`--config`, and every field of the config and of its groups."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="JSON",
        help="a file with settings; flags win over it",
    )
    add_arguments(parser, FinetuneConfig, exclude=tuple(GROUPS))
    for model, title in GROUPS.values():
        add_arguments(parser, model, title=title)
    parser.epilog = "On several GPUs: accelerate launch -m toolkit finetune ..."


def run(args: argparse.Namespace) -> int:
    """Train and say where the remover is."""
    from toolkit.finetune.finetuning import finetune

    with ConsoleObserver() as observer:
        report = finetune(read_grouped(FinetuneConfig, GROUPS, args), observer)
    if report is not None:
        summarise(report)
    return 0


def summarise(report: FinetuneReport) -> None:
    """Say what came out and where it is."""
    out.print(f"kept step {report.step}: {report.reason}", soft_wrap=True)
    out.print(f"on held-out pairs: {_figures(report.figures)}", soft_wrap=True)
    out.print(f"curve: {report.output / 'images' / 'curve.png'}", soft_wrap=True)
    out.print(f"remover: {report.output}", soft_wrap=True)


def _figures(figures: dict[str, float]) -> str:
    shown = {
        "removal": "removal {:.2f}",
        "artefact": "artefact {:.3f}",
        "psnr_inside": "inside the mask {:.1f} dB",
        "psnr_outside": "outside {:.1f} dB",
        "loss": "loss {:.4f}",
    }
    return ", ".join(
        text.format(figures[name])
        for name, text in shown.items()
        if figures.get(name) is not None and math.isfinite(figures[name])
    )


class ConsoleObserver(FinetuneObserver):
    """A progress bar on a terminal, a line now and then elsewhere: steps, loss, rate, steps per second, time left."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._bar = self._progress.add_task("loading", total=None, state="")
        self._phase, self._steps = "", 0
        self._begun = self._said = time.monotonic()
        self._first = 0

    def __enter__(self) -> ConsoleObserver:
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, datasets: Sequence[TrainingSet], steps: int) -> None:
        self._progress.start()  # not before: of several processes only the first hears this
        self._steps = steps
        for dataset in datasets:
            kind = "true" if dataset.perfect else "inpainted"
            err.print(
                f"{dataset.root}: {dataset.manifest.task}, {dataset.count('train')} pairs to train on, "
                f"{dataset.count('validation')} held out, {kind} targets",
                soft_wrap=True,
            )

    def checking(self, dataset: Path) -> None:
        self._progress.update(self._bar, description=f"checking {dataset.name}")

    def encoding(self, done: int, total: int) -> None:
        self._enter("encoding", total, 0)
        self._progress.update(self._bar, completed=done)
        self._say(f"encoded {done} of {total} pictures")

    def resumed(self, step: int) -> None:
        err.print(f"going on from step {step}")

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        if self._phase != "training":
            self._enter("training", self._steps, step)
            self._first = step  # how long this one took is not known
        state = f"loss {loss:.4f}  rate {learning_rate:.1e}"
        left = ""
        if step > self._first:
            speed = (step - self._first) / max(time.monotonic() - self._begun, 1e-9)
            state += f"  {speed:.2f} steps/s"
            left = f"  {(self._steps - step) / speed / 60:.0f} min left"
        self._progress.update(self._bar, completed=step, state=state)
        self._say(f"step {step} of {self._steps}  {state}{left}")

    def validated(self, step: int, figures: dict[str, float], grid: Path, best: bool) -> None:
        mark = ", the best so far" if best else ""
        err.print(f"step {step}: {_figures(figures)}{mark}; {grid}", soft_wrap=True)

    def warning(self, sentence: str) -> None:
        err.print(f"warning: {sentence}", soft_wrap=True)

    def _enter(self, phase: str, total: int, done: int) -> None:
        if self._phase != phase:
            self._phase, self._begun = phase, time.monotonic()
            self._progress.reset(self._bar, total=total, completed=done, description=phase, state="")

    def _say(self, line: str) -> None:
        if not err.is_terminal and time.monotonic() - self._said > _LINE_SECONDS:
            self._said = time.monotonic()
            err.print(line, soft_wrap=True)
