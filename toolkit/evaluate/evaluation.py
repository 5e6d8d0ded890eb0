"""Measures originals and edited videos and writes the report: step 4 of the method."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ContractError, MissingExtra, UsageError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.keeping import Kept
from toolkit.evaluate.pairing import VideoSet, pair_videos
from toolkit.evaluate.results import Evaluation, MethodResult, VideoResult
from toolkit.executor import Executor, ProcessExecutor, available_cores
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.progress import Observer
from toolkit.task import AttributeTask, Measure
from toolkit.words import counted


class EvaluateObserver(Observer):
    """Follows an evaluation. `failed` reports an original that cannot be measured for any method."""

    def measured(self, name: str, results: Mapping[str, VideoResult]) -> None:
        """An original is finished.

        Args:
            name: of the original.
            results: method -> result. A method whose video could not be measured has `failed` set.
        """


@dataclass(frozen=True)
class EvaluateReport:
    """A finished evaluation.

    Attributes:
        output: folder with ``report.json`` and its other forms.
        evaluation: the content of ``report.json``.
        failed: how many edited videos could not be measured.
    """

    output: Path
    evaluation: Evaluation
    failed: int


def evaluate(
    config: EvaluateConfig,
    observer: EvaluateObserver | None = None,
    executor: Executor | None = None,
    failed: Mapping[str, Mapping[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> EvaluateReport:
    """Measure edited videos (V-LASIK, table 1) and write the report.

    The same videos and settings give the same numbers, whatever the number of workers. A video that cannot be measured
    does not stop the others. If a run is interrupted, the same settings go on with the videos that are not measured
    yet. Worker processes are spawned, so a script that calls this must guard its top level with
    ``if __name__ == "__main__"``.

    Args:
        config: what to measure.
        observer: receives progress and failures.
        executor: runs the measuring; worker processes on this machine if None.
        failed: method -> original's name -> reason: videos that the method could not produce.
        notes: sentences to add to the report.

    Raises:
        UsageError: an unknown task or option, a missing path, or an output that is not a writable folder.
        InputError: a folder without videos, or an invalid model file.
        MissingExtra: the task, the analyser or the flow needs a library or weights that are not installed.
        ContractError: the task's own measures break the contract.
        ToolkitError: the report cannot be written.
    """
    from toolkit.evaluate.summary import summarise
    from toolkit.evaluate.task_measures import measures_of
    from toolkit.evaluate.writing import write_report
    from toolkit.registry import load_task

    observer, started = observer or EvaluateObserver(), time.monotonic()
    task = load_task(config.task, config.options)
    tell = observer.note if failed is None else None  # a comparison has told it
    sets = pair_videos(config.original, config.methods, config.target, failed, tell)
    measures = measures_of(task)
    resolved, tools = resolve(config, measures)
    _make_folder(config)
    observer.phase("measuring", len(sets), "videos")
    with termination_interrupts(RESUMES):
        executor = executor or _processes(resolved, len(sets))
        kept = Kept(resolved, task)
        results = _measure(resolved, task, sets, observer, executor, kept)
        methods = [
            MethodResult(name=name, videos=[results[videos.name][name] for videos in sets]) for name in config.methods
        ]
        evaluation = summarise(config, measures, methods, tools)
        evaluation.notes += notes
        evaluation.seconds = round(time.monotonic() - started, 3)
        write_report(evaluation, config, sets, executor)
        kept.discard()
    unmeasured = sum(video.failed is not None for method in methods for video in method.videos)
    return EvaluateReport(config.output, evaluation, unmeasured)


def _make_folder(config: EvaluateConfig) -> None:
    """Create the report's folder before the work, so that an unwritable one is found early."""
    output = config.output
    if config.original.is_dir() and output.resolve().is_relative_to(config.original.resolve()):
        raise UsageError(
            f"{output} is inside the folder of the originals, {config.original}, so the report's copies of videos "
            "would count as originals; name another output"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"the report needs a folder, but {output} is a file; name another output") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be created ({error.strerror}); name another output") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise UsageError(f"{output} is not writable; change its permissions or name another output")


def _processes(config: EvaluateConfig, sets: int) -> Executor:
    from toolkit.device import choose_device_name

    cores = available_cores()
    on_gpu = config.flow == "raft" and choose_device_name(config.device) != "cpu"
    workers = min(config.workers or (1 if on_gpu else cores), sets)
    return ProcessExecutor(workers, threads=max(1, cores // workers))


def _measure(
    config: EvaluateConfig,
    task: AttributeTask,
    sets: list[VideoSet],
    observer: EvaluateObserver,
    executor: Executor,
    kept: Kept,
) -> dict[str, dict[str, VideoResult]]:
    """Original's name -> method -> result."""
    from toolkit.evaluate.measuring import Job, measure_set

    results = {videos.name: found for videos in sets if (found := kept.results(videos)) is not None}
    if results:
        observer.note(f"resuming: {len(results)} of {counted(len(sets), 'videos')} measured")

    def tell(name: str) -> None:
        observer.measured(name, results[name])
        for note in dict.fromkeys(note for result in results[name].values() for note in result.notes):
            observer.note(f"{name}: {note}")

    for name in results:
        tell(name)
    if results:
        observer.advance(len(results))
    jobs = [Job(videos, config, task) for videos in sets if videos.name not in results]
    with closing(executor.run(measure_set, jobs)) as outcomes:
        for done, outcome in enumerate(outcomes, len(results) + 1):
            videos = outcome.item.videos
            if outcome.error is None:
                results[videos.name] = outcome.value
                kept.keep(videos, outcome.value)
                tell(videos.name)
            elif isinstance(outcome.error, UsageError | MissingExtra | ContractError):
                raise outcome.error  # every other video would fail in the same way
            else:
                sentence = str(outcome.error)
                results[videos.name] = {
                    name: VideoResult(name=videos.name, original=str(videos.original), failed=sentence)
                    for name in config.methods
                }
                observer.failed(videos.name, sentence)
                if outcome.details:
                    observer.bug(videos.name, outcome.details)
            observer.advance(done)
    return results


def resolve(config: EvaluateConfig, measures: Mapping[str, Measure]) -> tuple[EvaluateConfig, dict[str, str]]:
    """Choose flow and embedder once, so that all processes use the same ones.

    Returns:
        The config with both choices filled in, and a description of each tool for the report.

    Raises:
        ToolkitError: a named file is missing or unusable.
    """
    from toolkit.evaluate.arcface import ArcFace, find_arcface
    from toolkit.evaluate.flow import RaftFlow, choose_flow

    embedder = find_arcface(config.arcface) if config.identity else None
    if embedder is not None:
        ArcFace(embedder)  # an unusable model is an error before the work
        identity = embedder.name
    elif config.identity:
        identity = (
            "not measured: the insightface cache holds no ArcFace model; name one with --arcface, or run "
            "`toolkit fetch arcface`"
        )
    else:
        identity = "not requested"
    flow = choose_flow(config.flow, config.flow_weights, config.device)
    chosen = {
        "identity": embedder is not None,
        "arcface": embedder,
        "flow": "raft" if isinstance(flow, RaftFlow) else "dis",
    }
    tools = {"analyser": config.faces.analyser, "identity": identity, "flow": flow.name}
    tools |= {measure.label: measure.tool for measure in measures.values() if measure.tool}
    return config.model_copy(update=chosen), tools
