"""Step 4 of the method: originals and what methods made of them in, a report out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ContractError, MissingExtra, UsageError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet, pair_videos
from toolkit.evaluate.results import Column, Evaluation, MethodResult, VideoResult
from toolkit.executor import Executor, ProcessExecutor
from toolkit.interruption import termination_interrupts
from toolkit.task import AttributeTask, Measure
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
    config: EvaluateConfig,
    observer: EvaluateObserver | None = None,
    executor: Executor | None = None,
    failed: Mapping[str, Mapping[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> EvaluateReport:
    """Measure edited videos (V-LASIK, table 1) and write the report.

    The same videos and settings give the same numbers, whatever the number of workers. What cannot be measured does
    not stop the rest. Processes are spawned: a script that calls this keeps its own top level under
    ``if __name__ == "__main__"``.

    Args:
        config: what to measure.
        observer: is told how it goes.
        executor: where videos are measured; processes of this machine if None.
        failed: method -> original's name -> sentence: videos that could not be made, and why.
        notes: sentences for the report.

    Raises:
        UsageError: an unknown task or option, a path that is absent, or an output that is something else.
        InputError: a folder holds no video, or a named model is not what it should be.
        MissingExtra: the task, the analyser or the flow needs something that is not here.
        ContractError: the task's own measures break the contract.
        ToolkitError: the report cannot be written.
    """
    from toolkit.evaluate.task_measures import measures_of
    from toolkit.registry import load_task

    observer, begun = observer or EvaluateObserver(), time.monotonic()
    task = load_task(config.task, config.options)
    sets = pair_videos(config.original, config.methods, config.target, failed)
    measures = measures_of(task)
    settled, tools = settle(config, measures)
    _make_folder(config)
    observer.started(len(sets))
    with termination_interrupts():
        executor = executor or _processes(settled, len(sets))
        found = _measured(settled, task, sets, observer, executor)
        methods = [
            MethodResult(name=name, videos=[found[videos.name][name] for videos in sets]) for name in config.methods
        ]
        evaluation = summarise(config, measures, methods, tools)
        evaluation.notes += notes
        evaluation.seconds = round(time.monotonic() - begun, 3)
        from toolkit.evaluate.writing import write_report

        write_report(evaluation, config, sets, executor)
    failed = sum(video.failed is not None for method in methods for video in method.videos)
    return EvaluateReport(config.output, evaluation, failed)


def _make_folder(config: EvaluateConfig) -> None:
    """The report's folder; hours later would be late to learn that it cannot be written."""
    output = config.output
    if config.original.is_dir() and output.resolve().is_relative_to(config.original.resolve()):
        raise UsageError(
            f"{output} lies in the folder of the originals, {config.original}, where the report's copies of videos "
            "would be taken for originals; name another output"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"the report needs a folder, and {output} is a file; name another output") from None
    except OSError as error:
        raise UsageError(f"{output} cannot be made ({error.strerror}); name another output") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise UsageError(f"the report cannot be written into {output}; allow writing there or name another output")


def _processes(config: EvaluateConfig, sets: int) -> Executor:
    from toolkit.device import choose_device_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    on_gpu = config.flow == "raft" and choose_device_name(config.device) != "cpu"
    workers = min(config.workers or (1 if on_gpu else cores), sets)
    return ProcessExecutor(workers, threads=max(1, cores // workers))


def _measured(
    config: EvaluateConfig,
    task: AttributeTask,
    sets: list[VideoSet],
    observer: EvaluateObserver,
    executor: Executor,
) -> dict[str, dict[str, VideoResult]]:
    from toolkit.evaluate.measuring import Job, measure_set

    found: dict[str, dict[str, VideoResult]] = {}
    jobs = [Job(videos, config, task) for videos in sets]
    with closing(executor.run(measure_set, jobs)) as outcomes:
        for outcome in outcomes:
            videos = outcome.item.videos
            if outcome.error is None:
                found[videos.name] = outcome.value
                observer.measured(videos.name, outcome.value)
                continue
            if isinstance(outcome.error, UsageError | MissingExtra | ContractError):
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


def settle(config: EvaluateConfig, measures: Mapping[str, Measure]) -> tuple[EvaluateConfig, dict[str, str]]:
    """The config with flow and embedder chosen, so that all processes use the same, and what measures, for the report.

    Raises:
        ToolkitError: something that was named is not here or not usable.
    """
    from toolkit.evaluate.arcface import ArcFace, find_arcface
    from toolkit.evaluate.flow import RaftFlow, choose_flow

    embedder = find_arcface(config.arcface) if config.identity else None
    if embedder is not None:
        ArcFace(embedder)
        identity = embedder.name
    elif config.identity:
        identity = (
            "not measured: there is no ArcFace model in the insightface cache; name one with --arcface, or run "
            "`toolkit fetch arcface`"
        )
    else:
        identity = "not asked for"
    flow = choose_flow(config.flow, config.flow_weights, config.device)
    chosen = {
        "identity": embedder is not None,
        "arcface": embedder,
        "flow": "raft" if isinstance(flow, RaftFlow) else "dis",
    }
    tools = {"analyser": config.analyser, "identity": identity, "flow": flow.name}
    tools |= {measure.label: measure.tool for measure in measures.values() if measure.tool}
    return config.model_copy(update=chosen), tools


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
        if "identity_target" in measured:
            columns.append(
                Column(
                    name="identity_target",
                    label="ID to target",
                    unit=0.1,
                    digits=2,
                    description="cosine of the ArcFace embeddings of target and edit, mean over frames with a face",
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
            over = "of the mean squared error over frames" if name.startswith("psnr") else "mean over frames"
            columns.append(
                Column(
                    name=name,
                    label=label,
                    suffix=suffix,
                    digits=digits,
                    better=better,
                    description=f"{label} against the target, {over}",
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
    ("lpips_inside", "LPIPS inside", "", 3, "lower"),
    ("lpips_outside", "LPIPS outside", "", 3, "lower"),
    ("lpips_frame", "LPIPS", "", 3, "lower"),
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
