"""Decides which methods a comparison runs, and how each one makes its videos."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from toolkit.compare.config import OURS, Baseline, CompareConfig
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.evaluate.config import named_paths
from toolkit.evaluate.pairing import pair_videos
from toolkit.files import sha256_of
from toolkit.registry import load_task

if TYPE_CHECKING:
    from toolkit.compare.methods import Method
    from toolkit.edit.config import EditConfig
    from toolkit.faces.types import FaceAnalyser
    from toolkit.task import AttributeTask


@dataclass
class Plan:
    """What to run and measure.

    Attributes:
        methods: name -> how its videos are made, or where finished ones are.
        left_out: name -> reason: methods that the user did not name and that cannot run.
    """

    methods: dict[str, Method | Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def plan_comparison(config: CompareConfig) -> Plan:
    """Plan ours, the baselines, the checkouts and the outputs, in this order.

    Raises:
        ToolkitError: as for `toolkit.compare.compare`.
    """
    from toolkit.compare.methods import EditMethod, checked

    task = load_task(config.task, config.options)
    plan = Plan()
    if has_remover(config):
        plan.methods[OURS] = EditMethod(config.edit(config.remover))
    for name in dict.fromkeys(get_args(Baseline) if config.baselines is None else config.baselines):
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
        raise UsageError("there is nothing to compare; name a remover, baselines, checkouts or outputs")
    return plan


def has_remover(config: CompareConfig) -> bool:
    """Whether the user named a remover, or the task ships one for the backbone."""
    from toolkit.backbones import describe
    from toolkit.edit.resolve import EMBEDDED
    from toolkit.registry import load_task_class

    if config.remover:
        return True
    removers = load_task_class(config.task).removers
    return bool(removers) and describe(config.backbone or EMBEDDED).name in removers


def _baseline(name: Baseline, config: CompareConfig, task: AttributeTask) -> Method | Path:
    from toolkit.compare.methods import EditMethod, FrameMethod

    if name == "unedited":
        return config.videos
    if name == "first-frame":
        if not has_remover(config):
            raise UsageError("first-frame attention is another way to run a remover; name one with --remover")
        motion = config.motion.model_copy(update={"motion_layers": "none", "reference_frames": "first"})
        return EditMethod(config.edit(config.remover, motion=motion))
    exact = task.exact_mask or (name != "cn-inpaint" and config.masks_of == "target")
    if config.baselines is None and not exact:
        raise UsageError(
            f"the masks of {task.name} cover all of the skin that it may be on, so filling them says little; to run "
            f"{name} anyway, name it with --baselines"
        )
    if name == "cn-inpaint":
        return EditMethod(_inpainting(config))
    masks = _MaskSource(config, task)
    return FrameMethod(name, partial(_filled, name, masks), masks.settings, config.writing)


def _inpainting(config: CompareConfig) -> EditConfig:
    """Settings of `cn-inpaint`: on the backbone of ours, denoised as `toolkit build-dataset` does.

    Settings of denoising that the user changed apply to both.
    """
    from toolkit.backbones import describe
    from toolkit.edit.config import DenoisingConfig
    from toolkit.edit.resolve import backbone_of
    from toolkit.synthesis.config import InpaintConfig

    backbone = config.backbone or backbone_of(config.edit(config.remover))
    spec = describe(backbone)
    step_1 = InpaintConfig().resolved(spec, config.device)
    values = {
        "num_inference_steps": step_1.num_inference_steps,
        "guidance_scale": 1.0 if spec.tokenizer is None else step_1.guidance_scale,
        "controlnet_conditioning_scale": step_1.controlnet_conditioning_scale,
        "strength": step_1.strength,
    }
    defaults, chosen = DenoisingConfig().model_dump(), config.denoising.model_dump()
    values |= {name: value for name, value in chosen.items() if value != defaults[name]}
    named = config.model_copy(update={"backbone": backbone})
    return named.edit([Path(f"inpaint:{config.task}")], denoising=DenoisingConfig(**values))


def _filled(name: str, masks: _MaskSource, source: Path, digest: str, folder: Path) -> Generator[np.ndarray]:
    from toolkit.compare.methods import opencv_frames

    return opencv_frames(source, masks.of(source, digest, folder), name)


def _external(name: str, checkout: Path, config: CompareConfig, task: AttributeTask) -> Method:
    from toolkit.compare.methods import FrameMethod, external_frames
    from toolkit.compare.tools import external

    tool = external(name, checkout, named_paths(config.pythons).get(name, Path(sys.executable)))
    tool.check()
    source_of_masks, prompts = _MaskSource(config, task), (task.prompt, task.negative_prompt)

    def frames(source: Path, digest: str, folder: Path) -> Generator[np.ndarray]:
        masks = source_of_masks.of(source, digest, folder) if tool.needs_masks else None
        return external_frames(tool, source, masks, prompts, folder)

    def settings(source: Path) -> dict[str, Any]:
        input_settings = source_of_masks.settings(source) if tool.needs_masks else {"prompts": list(prompts)}
        return input_settings | {"checkout": tool.scripts()}

    return FrameMethod(name, frames, settings, config.writing)


class _MaskSource:
    """The masks that a method fills: the task's, or the region where original and target differ."""

    def __init__(self, config: CompareConfig, task: AttributeTask):
        self._config, self._task = config, task
        self._analyser: FaceAnalyser | None = None
        self._targets: dict[Path, Path | None] | None = None

    def settings(self, source: Path) -> dict[str, Any]:
        """Everything that determines a video's masks, as JSON values.

        Raises:
            InputError: the video has no target.
        """
        if self._config.masks_of == "target":
            return {"target": sha256_of(self._target(source))}
        return {
            "task": self._task.name,
            "options": self._task.options.model_dump(mode="json"),
            "crop": self._config.crop.model_dump(mode="json"),
            "faces": self._config.faces.model_dump(mode="json"),
            "dilation": self._config.masking.dilation,
        }

    def of(self, source: Path, digest: str, folder: Path) -> Iterable[np.ndarray]:
        """Masks of a video, bool ``[H, W]`` for each frame.

        Raises:
            InputError: the video has no target.
        """
        from toolkit.compare.masks import FrameMasks, TargetMasks
        from toolkit.edit.masks import TaskMaskers
        from toolkit.faces.config import build_analyser

        if self._config.masks_of == "target":
            return TargetMasks(source, self._target(source))
        if self._analyser is None:
            self._analyser = build_analyser(self._config.faces, self._config.device)
        maskers = TaskMaskers([self._config.task], {self._task.name: self._task.options.model_dump(mode="json")})
        crop, dilation = self._config.crop, self._config.masking.dilation
        return FrameMasks(source, digest, maskers, self._analyser, crop, dilation, folder / "masks")

    def _target(self, source: Path) -> Path:
        if self._targets is None:
            sets = pair_videos(self._config.videos, {}, self._config.measuring.target)
            self._targets = {videos.original: videos.target for videos in sets}
        found = self._targets.get(source)
        if found is None:
            raise InputError(f"{source} has no counterpart in {self._config.measuring.target}")
        return found
