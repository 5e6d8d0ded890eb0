"""Collects the results of all videos into one evaluation: columns, means and intervals."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.results import Column, Evaluation, MethodResult
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

_IDENTITY = Column(
    name="identity",
    label="ID",
    unit=0.1,
    digits=2,
    description="cosine of the ArcFace embeddings of original and edit, mean over frames with a face",
)

_IDENTITY_TARGET = Column(
    name="identity_target",
    label="ID to target",
    unit=0.1,
    digits=2,
    description="cosine of the ArcFace embeddings of target and edit, mean over frames with a face",
)

_WARP_ERROR = Column(
    name="warp_error",
    label="E_warp",
    unit=1e-4,
    digits=2,
    better="lower",
    description="mean squared difference of consecutive edited frames along the original's flow, over visible pixels, "
    "RGB in 0..1 (Lai et al., 2018)",
)


def _against_target(name: str, label: str, digits: int = 3, suffix: str = "", lower: bool = False) -> Column:
    average = "of the mean squared error over frames" if name.startswith("psnr") else "mean over frames"
    return Column(
        name=name,
        label=label,
        suffix=suffix,
        digits=digits,
        better="lower" if lower else "higher",
        description=f"{label} against the target, {average}",
    )


_QUALITY = (
    _against_target("psnr_inside", "PSNR inside", 2, "dB"),
    _against_target("psnr_outside", "PSNR outside", 2, "dB"),
    _against_target("psnr_frame", "PSNR", 2, "dB"),
    _against_target("ssim_inside", "SSIM inside"),
    _against_target("ssim_outside", "SSIM outside"),
    _against_target("ssim_frame", "SSIM"),
    _against_target("lpips_inside", "LPIPS inside", lower=True),
    _against_target("lpips_outside", "LPIPS outside", lower=True),
    _against_target("lpips_frame", "LPIPS", lower=True),
    _against_target("temporal_error", "temporal error", suffix="of 255", lower=True),
)


def summarise(
    config: EvaluateConfig, measures: Mapping[str, Measure], methods: list[MethodResult], tools: dict[str, str]
) -> Evaluation:
    """Compute columns, means and intervals from the results of all methods."""
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


def columns_of(config: EvaluateConfig, measures: Mapping[str, Measure], measured: set[str]) -> list[Column]:
    """The columns of the tables, in the paper's order.

    Args:
        measures: the task's own; each has a column.
        measured: names of all measures that have a value. The columns of identity and warp error do not depend on it.
    """
    columns = [_of_task(key, measure, measure.label, measure.description) for key, measure in measures.items()]
    if config.identity:
        columns.append(_IDENTITY)
        columns += [
            _of_task(
                f"identity_{key}", measure, f"ID*{measure.label}", f"{measure.label} times identity, of each video"
            )
            for key, measure in measures.items()
            if measure.fidelity
        ]
        if "identity_target" in measured:
            columns.append(_IDENTITY_TARGET)
    columns.append(_WARP_ERROR)
    return columns + [column for column in _QUALITY if column.name in measured]


def _of_task(name: str, measure: Measure, label: str, description: str) -> Column:
    return Column(
        name=name,
        label=label,
        unit=measure.unit,
        digits=measure.digits,
        better=measure.better,
        description=description,
    )
