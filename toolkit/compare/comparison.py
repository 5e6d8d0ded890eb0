"""Runs methods, or variants of an edit, on the same videos and measures the results in one report."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.compare.config import AblateConfig, CompareConfig, RunConfig
from toolkit.compare.plan import Plan, plan_comparison
from toolkit.edit.output.names import report_name, result_names
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.evaluation import EvaluateObserver, EvaluateReport, evaluate, resolve
from toolkit.evaluate.pairing import pair_videos
from toolkit.evaluate.results import portable
from toolkit.evaluate.task_measures import measures_of
from toolkit.files import dump_json, write_text
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.progress import Observer
from toolkit.registry import load_task

if TYPE_CHECKING:
    from toolkit.compare.methods import Method
    from toolkit.edit.report import EditObserver

VIDEOS, SETTINGS = "videos", "settings.json"
"""In the output folder: a folder of videos for each method, and the settings of the run."""


class CompareObserver(Observer):
    """Follows a comparison; items are methods."""

    def edits(self) -> EditObserver:
        """Returns the observer of the work on single videos."""
        from toolkit.edit.report import EditObserver

        return EditObserver()

    def measures(self) -> EvaluateObserver:
        """Returns the observer of the evaluation, which begins when all methods have run."""
        return EvaluateObserver()


@dataclass(frozen=True)
class _Job:
    """One video for a method: the original, its name, and the file to write."""

    source: Path
    name: str
    target: Path


def compare(config: CompareConfig, observer: CompareObserver | None = None) -> EvaluateReport:
    """Run methods on the same videos and measure them in one report (V-LASIK, table 1).

    Videos that an earlier run made with the same settings are kept. A video that a method cannot make does not stop
    the others; the report names it.

    Raises:
        UsageError: a named method cannot run here, or a setting is wrong.
        InputError: the videos, a remover, a backbone or a checkout are unusable.
        ToolkitError: as for `toolkit.edit.edit_video` and `toolkit.evaluate.evaluate`.
    """
    return _run(config, plan_comparison(config), observer or CompareObserver())


def ablate(config: AblateConfig, observer: CompareObserver | None = None) -> EvaluateReport:
    """Change one setting at a time and measure the effect, in the same way as `compare`.

    Raises:
        ToolkitError: as for `compare`.
    """
    from toolkit.compare.ablation import plan_ablation

    return _run(config, plan_ablation(config), observer or CompareObserver())


def _run(config: RunConfig, plan: Plan, observer: CompareObserver) -> EvaluateReport:
    from toolkit.video.finding import find_videos

    notes = [f"{name} is left out: {sentence}" for name, sentence in plan.left_out.items()]
    for note in notes:
        observer.note(note)
    sources = find_videos([config.videos], distinct=False, tell=observer.note)
    names = result_names([name for _, name in sources], config.writing.lossless)
    edited = {
        name: method if isinstance(method, Path) else config.output / VIDEOS / name
        for name, method in plan.methods.items()
    }
    measuring = _measuring(config, edited)
    # Problems with measuring are found now, not after all methods have run.
    resolve(measuring, measures_of(load_task(config.task, config.options)))
    finished = {name: method for name, method in plan.methods.items() if isinstance(method, Path)}
    pair_videos(config.videos, finished, config.measuring.target)
    _start(config)
    failed = {}
    with termination_interrupts(RESUMES):
        for number, (name, method) in enumerate(plan.methods.items(), 1):
            observer.item(name, number, len(plan.methods))
            if not isinstance(method, Path):
                jobs = [_Job(source, video, edited[name] / result) for (source, video), result in zip(sources, names)]
                failed[name] = _make(name, method, jobs, observer)
                _remove_others(edited[name], jobs)
    return evaluate(measuring, observer.measures(), failed=failed, notes=notes)


def _measuring(config: RunConfig, edited: Mapping[str, Path]) -> EvaluateConfig:
    values = config.measuring.model_dump() | {
        "original": config.videos,
        "edited": [f"{name}={path}" for name, path in edited.items()],
        "task": config.task,
        "options": config.options,
        "output": config.output,
        "faces": config.faces,
        "reading": config.reading,
        "device": config.device,
    }
    return EvaluateConfig(**values)


def _start(config: RunConfig) -> None:
    """Create the output folder and save the settings in it."""
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"the results need a folder, but {config.output} is a file; name another output")
    videos, results = config.videos.resolve(), (config.output / VIDEOS).resolve()
    if (videos.is_dir() and results.is_relative_to(videos)) or videos.is_relative_to(results):
        raise UsageError(f"the results in {results} would mix with the videos in {config.videos}; name another output")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        write_text(config.output / SETTINGS, dump_json(portable(config.model_dump(mode="python"))), durable=True)
    except OSError as error:
        raise ToolkitError(f"{config.output} cannot be written: {error.strerror}") from error


def _make(name: str, method: Method, jobs: list[_Job], observer: CompareObserver) -> Mapping[str, str]:
    """Make a method's videos; returns video -> reason for those that failed."""
    failed, edits = {}, observer.edits()
    for number, job in enumerate(jobs, 1):
        edits.item(job.source.name, number, len(jobs))
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            method.make(job.source, job.target, edits)
        except Exception as error:  # a plugin's or a library's; the other videos must not suffer
            _remove(job.target)  # from an earlier run with other settings
            label, failed[job.name] = f"{name}, {job.name}", str(error) or type(error).__name__
            observer.failed(label, failed[job.name])
            if not isinstance(error, ToolkitError | OSError):
                observer.bug(label, traceback.format_exc())
    method.close()
    return failed


def _remove_others(folder: Path, jobs: list[_Job]) -> None:
    """Remove a method's results for videos that no longer exist, or with another container."""
    from toolkit.video.finding import find_videos

    try:
        found = find_videos([folder], distinct=False)
    except InputError:  # no video was made
        return
    targets = {job.target.absolute() for job in jobs}
    for path, _ in found:
        if path not in targets:
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a video that a method made. It has a record beside it; a user's own file has none and stays."""
    record = report_name(path)
    if record.is_file():
        path.unlink(missing_ok=True)
        record.unlink()
