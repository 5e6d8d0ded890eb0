"""Runs methods, then measures them."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.compare.config import OURS, AblateConfig, CompareConfig, RunConfig
from toolkit.dataset.layout import dump_json
from toolkit.edit.batch import result_names
from toolkit.edit.check import report_name
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.evaluate.config import EvaluateConfig, named_paths
from toolkit.evaluate.engine import EvaluateObserver, EvaluateReport, evaluate, settle
from toolkit.evaluate.pairing import pair_videos
from toolkit.evaluate.results import portable
from toolkit.evaluate.task_measures import measures_of
from toolkit.files import sha256_of
from toolkit.interruption import termination_interrupts
from toolkit.registry import load_task

if TYPE_CHECKING:
    from toolkit.compare.methods import Method
    from toolkit.edit.report import EditObserver
    from toolkit.task import AttributeTask

VIDEOS, SETTINGS = "videos", "settings.json"
"""In the output: a folder for each method, and what was asked for."""


class CompareObserver:
    """Follows a comparison; the base class says nothing."""

    def left_out(self, name: str, sentence: str) -> None:
        """A method that nobody named cannot be run."""

    def method(self, name: str, number: int, count: int) -> None:
        """A method begins, the `number`-th of `count`."""

    def failed(self, name: str, source: Path, error: Exception) -> None:
        """A method could not make a video."""

    def bug(self, name: str, details: str) -> None:
        """A method failed in a way that nobody foresaw; `details` has a traceback."""

    def edits(self) -> EditObserver:
        """Follows the work on single videos."""
        from toolkit.edit.report import EditObserver

        return EditObserver()

    def measures(self) -> EvaluateObserver:
        """Follows the evaluation at the end."""
        return EvaluateObserver()


@dataclass
class Plan:
    """What is run and measured.

    Attributes:
        methods: name -> how its videos are made, or where they are.
        left_out: name -> sentence: methods that nobody named, and that cannot be run.
    """

    methods: dict[str, Method | Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def compare(config: CompareConfig, observer: CompareObserver | None = None) -> EvaluateReport:
    """Run methods on the same videos, and measure them in one report (V-LASIK, table 1).

    Videos that an earlier run made with the same settings are not made again. What fails for one video does not stop
    the rest; the report says so.

    Raises:
        UsageError: a method that was named cannot be run here, or a setting is wrong.
        InputError: videos, a remover, a backbone or a checkout is not what it should be.
        ToolkitError: as for `toolkit.edit.edit_video` and `toolkit.evaluate.evaluate`.
    """
    return _run(config, plan_comparison(config), observer or CompareObserver())


def ablate(config: AblateConfig, observer: CompareObserver | None = None) -> EvaluateReport:
    """Change one setting at a time, and measure what it does to the results (V-LASIK, section 5.3), as `compare`.

    Raises:
        ToolkitError: as for `compare`.
    """
    from toolkit.compare.ablation import plan_ablation

    return _run(config, plan_ablation(config), observer or CompareObserver())


def plan_comparison(config: CompareConfig) -> Plan:
    """Ours, the baselines, the checkouts and the outputs, in this order.

    Raises:
        ToolkitError: as for `compare`.
    """
    from toolkit.compare.methods import checked

    task = load_task(config.task, config.options)
    plan = Plan()
    if has_remover(config):
        from toolkit.compare.methods import EditMethod

        plan.methods[OURS] = EditMethod(config.edit(config.remover))
    for name in _baselines(config):
        try:
            plan.methods[name] = _baseline(name, config, task)
        except ToolkitError as error:
            if config.baselines is not None:
                raise
            plan.left_out[name] = str(error)
    for name, checkout in named_paths(config.checkouts).items():
        plan.methods[name] = _external(name, checkout, config, task)
    for name, path in named_paths(config.outputs).items():
        plan.methods[name] = checked(path)
    if not plan.methods:
        raise UsageError("there is nothing to compare: name a remover, baselines, checkouts or outputs")
    return plan


def has_remover(config: CompareConfig) -> bool:
    """Whether one is named, or comes with the task for the backbone."""
    from toolkit.backbones import describe
    from toolkit.edit.settling import EMBEDDED
    from toolkit.registry import load_task_class

    if config.remover:
        return True
    removers = load_task_class(config.task).removers
    return bool(removers) and describe(config.backbone or EMBEDDED).name in removers


def _baselines(config: CompareConfig) -> list[str]:
    if config.baselines is not None:
        return list(dict.fromkeys(config.baselines))
    return ["unedited", "telea", "navier-stokes", "cn-inpaint", "first-frame"]


def _baseline(name: str, config: CompareConfig, task: AttributeTask) -> Method | Path:
    from toolkit.compare.methods import EditMethod, FrameMethod

    if name == "unedited":
        return config.videos
    if name == "first-frame":
        if not has_remover(config):
            raise UsageError("first-frame attention is another way to run a remover: name one with --remover")
        motion = config.motion.model_copy(update={"motion": False, "reference_frames": "first"})
        return EditMethod(config.edit(config.remover, motion=motion))
    exact = task.exact_mask or (name != "cn-inpaint" and config.masks_of == "target")
    if config.baselines is None and not exact:
        raise UsageError(
            f"the masks of {task.name} are all of the skin on which one may be, so filling them says little; name "
            f"{name} with --baselines to do it nevertheless"
        )
    if name == "cn-inpaint":
        return EditMethod(config.edit([Path(f"inpaint:{task.name}")]))
    masking = _Masking(config, task)
    return FrameMethod(name, partial(_filled, name, masking), masking.settings, config.writing)


def _filled(name: str, masking: _Masking, source: Path, digest: str, folder: Path):
    from toolkit.compare.methods import opencv_frames

    return opencv_frames(source, masking.of(source, digest, folder), name)


def _external(name: str, checkout: Path, config: CompareConfig, task: AttributeTask) -> Method:
    from toolkit.compare.external import external
    from toolkit.compare.methods import FrameMethod, external_frames

    tool = external(name, checkout, named_paths(config.pythons).get(name, Path(sys.executable)))
    tool.check()
    masking, prompts = _Masking(config, task), (task.prompt, task.negative_prompt)

    def frames(source: Path, digest: str, folder: Path):
        masks = masking.of(source, digest, folder) if tool.needs_masks else None
        return external_frames(tool, source, masks, prompts, folder)

    def settings(source: Path) -> dict[str, Any]:
        asked = masking.settings(source) if tool.needs_masks else {"prompts": list(prompts)}
        return asked | {"checkout": tool.scripts()}

    return FrameMethod(name, frames, settings, config.writing)


class _Masking:
    """The masks that methods are given."""

    def __init__(self, config: CompareConfig, task: AttributeTask):
        self._config, self._task = config, task
        self._analyser: Any = None
        self._targets: dict[Path, Path | None] | None = None

    def settings(self, source: Path) -> dict[str, Any]:
        """What decides a video's masks, as JSON values.

        Raises:
            InputError: there is no target for the video.
        """
        if self._config.masks_of == "target":
            return {"target": sha256_of(self._target(source))}
        return {
            "task": self._task.name,
            "options": self._task.options.model_dump(mode="json"),
            "region": self._config.region.model_dump(mode="json"),
            "dilation": self._config.masking.dilation,
        }

    def of(self, source: Path, digest: str, folder: Path):
        """Masks of a video, bool ``[H, W]`` for each frame.

        Raises:
            InputError: there is no target for the video.
        """
        from toolkit.compare.masks import FrameMasks, TargetMasks
        from toolkit.edit.masking import TaskMaskers
        from toolkit.faces import create_analyser

        region = self._config.region
        if self._config.masks_of == "target":
            return TargetMasks(source, self._target(source))
        if self._analyser is None:
            self._analyser = create_analyser(region.analyser, max_faces=region.max_faces, model_file=region.model_file)
        maskers = TaskMaskers([self._task.name], {self._task.name: self._task.options.model_dump(mode="json")})
        dilation = self._config.masking.dilation
        return FrameMasks(source, digest, maskers, self._analyser, region, dilation, folder / "masks")

    def _target(self, source: Path) -> Path:
        if self._targets is None:
            sets = pair_videos(self._config.videos, {}, self._config.measuring.target)
            self._targets = {videos.original: videos.target for videos in sets}
        found = self._targets.get(source)
        if found is None:
            raise InputError(f"there is no counterpart of {source} in {self._config.measuring.target}")
        return found


def _run(config: RunConfig, plan: Plan, observer: CompareObserver) -> EvaluateReport:
    from toolkit.video.finding import find_videos

    for name, sentence in plan.left_out.items():
        observer.left_out(name, sentence)
    sources = find_videos([config.videos], distinct=False)
    names = result_names([name for _, name in sources], config.writing.lossless)
    edited = {
        name: method if isinstance(method, Path) else config.output / VIDEOS / name
        for name, method in plan.methods.items()
    }
    measuring = _measuring(config, edited)
    # What is wrong with measuring would else be told when all methods have run.
    settle(measuring, measures_of(load_task(config.task, config.options)))
    pair_videos(
        config.videos,
        {name: method for name, method in plan.methods.items() if isinstance(method, Path)},
        config.measuring.target,
    )
    _start(config)
    failed = {}
    with termination_interrupts():
        for number, (name, method) in enumerate(plan.methods.items(), 1):
            observer.method(name, number, len(plan.methods))
            if not isinstance(method, Path):
                jobs = [(source, video, edited[name] / result) for (source, video), result in zip(sources, names)]
                failed[name] = _make(name, method, jobs, edited[name], observer)
    return evaluate(measuring, observer.measures(), failed=failed, notes=_left_out(plan))


def _left_out(plan: Plan) -> list[str]:
    return [f"{name} was left out: {sentence}" for name, sentence in plan.left_out.items()]


def _measuring(config: RunConfig, edited: Mapping[str, Path]) -> EvaluateConfig:
    wanted = config.measuring.model_dump() | {
        "original": config.videos,
        "edited": [f"{name}={path}" for name, path in edited.items()],
        "task": config.task,
        "options": config.options,
        "output": config.output,
        "analyser": config.region.analyser,
        "model_file": config.region.model_file,
        "device": config.device,
    }
    return EvaluateConfig(**wanted)


def _start(config: RunConfig) -> None:
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"the results need a folder, and {config.output} is a file; name another output")
    videos, results = config.videos.resolve(), (config.output / VIDEOS).resolve()
    if (videos.is_dir() and results.is_relative_to(videos)) or videos.is_relative_to(results):
        raise UsageError(f"the results in {results} would lie among the videos, {config.videos}; name another output")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        temporary = config.output / f".{SETTINGS}.part"
        temporary.write_text(dump_json(portable(config.model_dump(mode="python"))), encoding="utf-8")
        os.replace(temporary, config.output / SETTINGS)
    except OSError as error:
        raise ToolkitError(f"expected to write into {config.output}, but: {error.strerror}") from error


def _make(
    name: str,
    method: Method,
    jobs: list[tuple[Path, str, Path]],
    folder: Path,
    observer: CompareObserver,
) -> Mapping[str, str]:
    """A method's videos; name of a video -> sentence, where it could not be made.

    Args:
        jobs: for each video the file, its name, and the file that is to be made.
        folder: in which all that are made lie.
    """
    failed, edits = {}, observer.edits()
    for number, (source, video, target) in enumerate(jobs, 1):
        edits.video(source, target, number, len(jobs))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            method.make(source, target, edits)
        except Exception as error:  # of a plugin or a library: it must not cost the other videos
            _remove(target)  # one of an earlier run with other settings
            failed[video] = str(error) or type(error).__name__
            observer.failed(name, source, error)
            if not isinstance(error, ToolkitError | OSError):
                observer.bug(name, traceback.format_exc())
    method.close()
    made = {target.absolute() for _, _, target in jobs}
    for path, _ in _found(folder):
        if path not in made:
            _remove(path)  # of a video that is no more there, or of a run with another container
    return failed


def _remove(path: Path) -> None:
    """Remove a video that a method made: it has a record beside it."""
    record = report_name(path)
    if record.is_file():
        path.unlink(missing_ok=True)
        record.unlink()


def _found(folder: Path) -> list[tuple[Path, str]]:
    from toolkit.video.finding import find_videos

    try:
        return find_videos([folder], distinct=False)
    except InputError:
        return []
