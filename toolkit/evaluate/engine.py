"""Step 4 of the method: originals and what methods made of them in, a report out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet, pair_videos
from toolkit.evaluate.results import Column, Evaluation, MethodResult, VideoResult
from toolkit.executor import Executor, ProcessExecutor
from toolkit.interruption import termination_interrupts
from toolkit.task import Measure
from toolkit.versions import installed

_LIBRARIES = (
    "vlasik-toolkit",
    "av",
    "mediapipe",
    "numpy",
    "onnxruntime",
    "opencv-contrib-python",
    "scikit-image",
    "torch",
)

REPORT = "report.json"


class EvaluateObserver:
    """Follows an evaluation; the base class says nothing."""

    def started(self, videos: int) -> None:
        """So many originals will be measured."""

    def measured(self, name: str, results: Mapping[str, VideoResult]) -> None:
        """One of them is done, for all methods."""

    def failed(self, name: str, sentence: str) -> None:
        """One of them cannot be measured at all."""

    def bug(self, name: str, details: str) -> None:
        """Measuring one failed in a way that nobody foresaw; `details` has a traceback."""


@dataclass(frozen=True)
class EvaluateReport:
    """A finished evaluation.

    Attributes:
        output: folder with ``report.json`` and its other forms.
        evaluation: what it holds.
        failed: videos of methods that could not be measured.
    """

    output: Path
    evaluation: Evaluation
    failed: int


def evaluate(
    config: EvaluateConfig, observer: EvaluateObserver | None = None, executor: Executor | None = None
) -> EvaluateReport:
    """Measure edited videos (V-LASIK, table 1) and write the report.

    The same videos and settings give the same numbers, whatever the number of workers. What cannot be measured does
    not stop the rest. Processes are spawned: a script that calls this keeps its own top level under
    ``if __name__ == "__main__"``.

    Args:
        config: what to measure.
        observer: is told how it goes.
        executor: where videos are measured; processes of this machine if None.

    Raises:
        UsageError: an unknown task or option, or an output that is something else.
        InputError: a path is absent or holds no video.
        MissingExtra: the task, the analyser or the flow needs something that is not here.
    """
    from toolkit.registry import load_task

    observer, begun = observer or EvaluateObserver(), time.monotonic()
    task = load_task(config.task, config.options)
    sets = pair_videos(config.original, config.methods, config.target)
    tools = tools_of(config, task.metrics())
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"the report needs a folder, and {config.output} is a file; name another output")
    observer.started(len(sets))
    found = _measured(config, sets, observer, executor)
    methods = [MethodResult(name=name, videos=[found[videos.name][name] for videos in sets]) for name in config.methods]
    evaluation = summarise(config, task.metrics(), methods, tools)
    evaluation.seconds = round(time.monotonic() - begun, 3)
    from toolkit.evaluate.writing import write_report

    write_report(evaluation, config, sets)
    failed = sum(video.failed is not None for method in methods for video in method.videos)
    return EvaluateReport(config.output, evaluation, failed)


def _measured(
    config: EvaluateConfig, sets: list[VideoSet], observer: EvaluateObserver, executor: Executor | None
) -> dict[str, dict[str, VideoResult]]:
    from toolkit.evaluate.measuring import Job, measure_set

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = config.workers or min(len(sets), cores)
    executor = executor or ProcessExecutor(workers, threads=max(1, cores // workers))
    found: dict[str, dict[str, VideoResult]] = {}
    jobs = [Job(videos, config) for videos in sets]
    with termination_interrupts(), closing(executor.run(measure_set, jobs)) as outcomes:
        for outcome in outcomes:
            videos = outcome.item.videos
            if outcome.error is None:
                found[videos.name] = outcome.value
                observer.measured(videos.name, outcome.value)
                continue
            if isinstance(outcome.error, UsageError) or not isinstance(outcome.error, InputError | ToolkitError):
                raise outcome.error  # the next video would end in the same way
            sentence = str(outcome.error)
            found[videos.name] = {
                name: VideoResult(name=videos.name, original=str(videos.original), failed=sentence)
                for name in config.methods
            }
            observer.failed(videos.name, sentence)
            if outcome.details:
                observer.bug(videos.name, outcome.details)
    return found


def tools_of(config: EvaluateConfig, measures: Mapping[str, Measure]) -> dict[str, str]:
    """What measures, for the report; missing files are found here and not in every process.

    Raises:
        ToolkitError: something that was named is not here or not usable.
    """
    from toolkit.evaluate.arcface import ArcFace, find_arcface
    from toolkit.evaluate.flow import choose_flow

    embedder = find_arcface(config.arcface) if config.identity else None
    if embedder is not None:
        ArcFace(embedder)
        identity = embedder.name
    else:
        identity = (
            "not asked for"
            if not config.identity
            else ("not measured: no ArcFace model is here; name one with --arcface")
        )
    return {
        "analyser": config.analyser,
        "identity": identity,
        "flow": choose_flow(config.flow, config.flow_weights, config.device).name,
    } | {measure.label: measure.tool for measure in measures.values() if measure.tool}


def columns_of(config: EvaluateConfig, measures: Mapping[str, Measure], measured: set[str]) -> list[Column]:
    """The columns of the tables, in the paper's order, of what was measured and of identity."""
    columns = []
    for key, measure in measures.items():
        columns.append(
            Column(
                name=key,
                label=measure.label,
                unit=measure.unit,
                digits=measure.digits,
                better=measure.better,
                description=measure.description,
            )
        )
    if config.identity:
        columns.append(
            Column(
                name="identity",
                label="ID",
                unit=0.1,
                digits=2,
                description="cosine of the ArcFace embeddings of original and edit, mean over frames with a face",
            )
        )
        for key, measure in measures.items():
            if measure.fidelity:
                columns.append(
                    Column(
                        name=f"identity_{key}",
                        label=f"ID*{measure.label}",
                        unit=measure.unit,
                        digits=measure.digits,
                        better=measure.better,
                        description=f"{measure.label} times identity, of each video",
                    )
                )
    columns.append(
        Column(
            name="warp_error",
            label="E_warp",
            unit=1e-4,
            digits=2,
            better="lower",
            description="mean squared difference of consecutive edited frames along the original's flow, where it is "
            "visible, RGB in 0..1 (Lai et al., 2018)",
        )
    )
    for name, label, suffix, digits, better in _QUALITY:
        if name in measured:
            columns.append(
                Column(
                    name=name,
                    label=label,
                    suffix=suffix,
                    digits=digits,
                    better=better,
                    description=f"{label} against the target, mean over frames",
                )
            )
    return columns


_QUALITY = (
    ("psnr_inside", "PSNR inside", "dB", 2, "higher"),
    ("psnr_outside", "PSNR outside", "dB", 2, "higher"),
    ("psnr_frame", "PSNR", "dB", 2, "higher"),
    ("ssim_inside", "SSIM inside", "", 3, "higher"),
    ("ssim_outside", "SSIM outside", "", 3, "higher"),
    ("ssim_frame", "SSIM", "", 3, "higher"),
    ("lpips", "LPIPS", "", 3, "lower"),
    ("temporal_error", "temporal error", "of 255", 3, "lower"),
)


def summarise(
    config: EvaluateConfig, measures: Mapping[str, Measure], methods: list[MethodResult], tools: dict[str, str]
) -> Evaluation:
    """Columns, means and intervals over what was found."""
    from toolkit.evaluate.statistics import means

    measured = {key for method in methods for video in method.videos for key in video.values}
    columns = columns_of(config, measures, measured)
    failed = [f"{method.name}: {video.failed}" for method in methods for video in method.videos if video.failed]
    return Evaluation(
        task=config.task,
        columns=columns,
        methods=methods,
        tools=tools,
        means=means(methods, columns),
        notes=failed,
        config=config.model_dump(mode="json", exclude={"output", "workers", "allow_failures", "device"}),
        versions=installed(_LIBRARIES),
    )
