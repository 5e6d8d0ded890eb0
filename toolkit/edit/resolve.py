"""Settles everything that an edit's settings leave open, once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.backbones import BackboneSpec, backbone_names, describe, identity
from toolkit.backbones.locations import read_config
from toolkit.backbones.spec import Part
from toolkit.device import ComputeDevice, choose_device
from toolkit.edit.config import CropConfig, DenoisingConfig, EditConfig, MaskConfig, MotionConfig
from toolkit.edit.removers import EditRemover, Hint, edit_remover, inpainted_task, mask_task, removed_tasks
from toolkit.errors import UsageError
from toolkit.faces.config import FaceConfig
from toolkit.remover import read_remover, shipped_remover
from toolkit.validation import did_you_mean, validated

EMBEDDED = "nano"
"""Backbone of the removers that come with the tasks; it needs no download and no GPU."""

NUM_INFERENCE_STEPS = 20
"""Steps on a backbone that was not made for a number of steps."""

FEW_STEPS = 2
"""Most steps at which a second pass is cheap."""

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")

DISTILLED_SCHEDULERS = ("LCMScheduler", "TCDScheduler")
"""A backbone with one of these was distilled for it."""

NOT_OF_SAMPLES = ("EulerAncestralDiscreteScheduler", "PNDMScheduler")
"""Classes of diffusers without a formula for a UNet that predicts the sample."""

OWN_FRAME = "self"
BACKBONES_SCHEDULE = "backbone"

Normalisation = Literal["ion", "adain", "none"]


class _Resolved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResolvedRemover(_Resolved):
    """A remover, and how it is applied."""

    name: str = Field(description="Name of its folder, or `inpaint:TASK`.")
    tasks: tuple[str, ...] = Field(description="Attributes that it removes.")
    origin: dict[str, Any] = Field(description="Digest or repository that identifies it.")
    prompt: str = Field(description="Text that describes the edited clip.")
    negative_prompt: str = Field(description="Text that describes what it must not show.")
    resolution: int = Field(description="Side of its pictures in pixels.")
    hint: Hint = Field(description="What its ControlNet is shown: the frame, or the frame without the masked part.")
    exact_masks: bool = Field(description="Whether masks find the attribute itself; else they are search areas.")
    fill_opaque: bool = Field(description="Whether opaque parts are filled before it sees a frame.")
    second_pass: bool = Field(description="Whether it is applied twice.")
    normalisation: Normalisation = Field(description="How the masked latents' colours are matched.")
    controlnet: Part = Field(exclude=True, description="Location of its weights.")


class ResolvedDenoising(_Resolved):
    """How a clip is denoised."""

    num_inference_steps: int
    strength: float
    guidance_scale: float
    controlnet_conditioning_scale: float
    scheduler: str = Field(description="Class of diffusers.")
    beta_schedule: str = Field(description=f"Noise schedule; `{BACKBONES_SCHEDULE}`: the backbone's, unchanged.")


class ResolvedMotion(_Resolved):
    """How frames are kept consistent."""

    motion_adapter: bool = Field(description="Whether motion layers are used.")
    removed_motion_layers: tuple[str, ...] = Field(description="Layers of the motion adapter that are removed.")
    context_length: int
    context_overlap: int
    shared_noise: bool
    reference_frames: str = Field(description=f"`{OWN_FRAME}`: each frame attends to itself.")


class ResolvedMasking(_Resolved):
    """How the rest of the picture is preserved."""

    finds_masks: bool = Field(description="Whether masks are searched for at all.")
    blend_original: bool = Field(description="Whether the original is blended in around the mask at every step.")
    blend_range: tuple[float, float]
    blend_width: float
    dilation: float
    composite: Literal["mask", "crop"]
    feather: float
    min_change: float
    min_peak_change: float


class ResolvedEdit(_Resolved):
    """Settings of an edit with nothing left open: no `auto`, nothing unset. The report saves them."""

    removers: tuple[ResolvedRemover, ...] = Field(description="In the order in which they are applied.")
    backbone: dict[str, Any] = Field(description="Name and digests of the backbone's parts.")
    compute: ComputeDevice = Field(description="Device, number format and memory format.")
    denoising: ResolvedDenoising
    motion: ResolvedMotion
    masking: ResolvedMasking
    crop: CropConfig
    faces: FaceConfig
    options: dict[str, dict[str, Any]] = Field(description="Options of the tasks.")
    seed: int
    spec: BackboneSpec = Field(exclude=True, description="The backbone's description, with its locations.")
    work_dir: Path = Field(exclude=True, description="Folder for intermediate files, relative to the output's.")

    @property
    def resolution(self) -> int:
        """Side of the crops in pixels: the largest that a remover was trained on."""
        return max(remover.resolution for remover in self.removers)

    @property
    def passes(self) -> int:
        """How often removers are applied to a track, at most."""
        return sum(2 if remover.second_pass else 1 for remover in self.removers)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the backbone's parts that are used."""
        return _parts(self.spec, self.motion.motion_adapter)

    @property
    def tasks(self) -> list[str]:
        """Names of all attributes that are removed, in alphabetical order."""
        return sorted({task for remover in self.removers for task in remover.tasks})


def resolve(config: EditConfig) -> ResolvedEdit:
    """Settle all settings of an edit; no weights are loaded.

    Raises:
        UsageError: an unknown backbone, task, option or device; a task without a remover for the backbone; a remover
            that removes none of the named tasks; or a setting that the backbone does not support.
        InputError: a remover or the backbone is incomplete, damaged or tampered with, or they do not fit each other.
        MissingExtra: a part of the backbone is not downloaded.
    """
    spec = describe(config.backbone or backbone_of(config))
    steps = config.denoising.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
    denoising = validated(DenoisingConfig, config.denoising.model_dump() | {"num_inference_steps": steps})
    removers = [edit_remover(name, spec, config.options) for name in chosen_removers(config, spec)]
    _check_references(config.motion.reference_frames)
    _check_denoising(denoising, spec)
    compute = choose_device(config.device, None if denoising.dtype == "auto" else denoising.dtype)
    motion = resolve_motion(config.motion, spec, steps)
    known = {task for remover in removers for task in remover.tasks}
    for name in config.options:
        if name not in known:
            raise UsageError(
                f"there are options for the task {name!r}, but the removers' tasks are {', '.join(sorted(known))}"
                f"{did_you_mean(name, known)}"
            )
    finds_masks = _finds_masks(config.masking, removers)
    options = dict(config.options)
    resolved_removers = []
    for remover in removers:
        tasks = [mask_task(name, config.options.get(name)) for name in remover.tasks] if finds_masks else []
        options |= {task.name: task.options.model_dump(mode="json") for task in tasks}
        exact = all(task.exact_mask for task in tasks)
        negative_prompt = ", ".join(task.negative_prompt for task in tasks if task.negative_prompt)
        resolved_removers.append(_remover(remover, config.masking, finds_masks, exact, steps, negative_prompt))
    return ResolvedEdit(
        removers=tuple(resolved_removers),
        backbone=identity(spec, _parts(spec, motion.motion_adapter)),
        compute=compute,
        denoising=resolve_denoising(denoising, spec, steps, config.motion.beta_schedule, motion.motion_adapter),
        motion=motion,
        masking=resolve_masking(config.masking, finds_masks),
        crop=config.crop,
        faces=config.faces,
        options=options,
        seed=config.seed,
        spec=spec,
        work_dir=Path() if config.work_dir is None else config.work_dir.absolute(),
    )


def backbone_of(config: EditConfig) -> str:
    """Name of the backbone that the first trained remover was trained on; the embedded one if there is none.

    Raises:
        UsageError: the name is unknown.
        InputError: the folder of a remover is damaged.
    """
    for name in config.remover:
        if inpainted_task(name) is None:
            backbone = str(read_remover(name, verify=False).record.backbone.get("name"))
            if backbone not in backbone_names():
                raise UsageError(
                    f"the remover {name} was trained on a backbone {backbone}, which is none of "
                    f"{', '.join(backbone_names())}: name its folder with --backbone"
                )
            return backbone
    return EMBEDDED


def chosen_removers(config: EditConfig, spec: BackboneSpec) -> list[Path]:
    """The removers to apply: the named ones; with tasks, in the tasks' order, with the tasks' own for the rest.

    Raises:
        UsageError: a task has no remover for the backbone, or a named remover removes none of the tasks.
        InputError: the folder of a remover is damaged.
    """
    if not config.task:
        return list(config.remover)
    named = {name: removed_tasks(name) for name in config.remover}
    for name, tasks in named.items():
        if not tasks & set(config.task):
            raise UsageError(
                f"the remover {name} removes {', '.join(sorted(tasks))}, and --task names {', '.join(config.task)}; "
                "drop one of the two"
            )
    chosen: list[Path] = []
    for task in config.task:
        mine = next((name for name, tasks in named.items() if task in tasks), None)
        remover = shipped_remover(task, spec.name) if mine is None else mine
        if remover not in chosen:
            chosen.append(remover)
    return chosen


def _parts(spec: BackboneSpec, motion_adapter: bool) -> tuple[str, ...]:
    wanted = (*PARTS, "motion_adapter") if motion_adapter else PARTS
    return tuple(name for name in wanted if name in spec.parts)


def _check_references(policy: str | None) -> None:
    from toolkit.diffusion.references import reference_indices

    if policy is None:
        return
    if policy.strip()[:1].isdigit():
        raise UsageError(
            f"shots differ in length, so the reference frames {policy!r} do not exist in all of them; choose first, "
            "first+middle or uniform:K"
        )
    reference_indices(policy, 1)


def _check_denoising(config: DenoisingConfig, spec: BackboneSpec) -> None:
    if spec.prediction_type == "sample" and config.scheduler in NOT_OF_SAMPLES:
        raise UsageError(
            f"{config.scheduler} does not work with {spec.name}, whose UNet predicts the sample; choose another "
            "--scheduler, or drop the option"
        )
    if config.guidance_scale > 1 and spec.tokenizer is None:
        raise UsageError(
            f"the backbone {spec.name} has one learned prompt, so there is nothing to guide by: leave "
            "--guidance-scale at 1"
        )


def resolve_motion(config: MotionConfig, spec: BackboneSpec, steps: int) -> ResolvedMotion:
    """Settle the settings of motion, for an edit in `steps` denoising steps.

    Raises:
        UsageError: the backbone has no motion adapter, or its adapter does not support the settings.
    """
    adapter = config.motion_layers != "none" and spec.motion_adapter is not None
    if not adapter and not isinstance(config.motion_layers, str) and set(config.motion_layers) - {"paper"}:
        raise UsageError(
            f"--motion-layers names layers to remove, but the backbone {spec.name} has no motion adapter; drop the "
            "option"
        )
    shared = not adapter or steps == 1  # in one step motion layers cannot bring together frames that start apart
    return ResolvedMotion(
        motion_adapter=adapter,
        removed_motion_layers=tuple(check_motion(spec, config)) if adapter else (),
        context_length=config.context_length,
        context_overlap=config.context_overlap,
        shared_noise=shared if config.shared_noise == "auto" else config.shared_noise == "on",
        reference_frames=config.reference_frames or OWN_FRAME,
    )


def check_motion(spec: BackboneSpec, config: MotionConfig) -> list[str]:
    """Compare the settings with the configuration of the motion adapter.

    Returns:
        Names of the layers to remove.

    Raises:
        UsageError: the adapter does not have a named layer, or cannot see the whole context at once.
    """
    from toolkit.diffusion.motion_layers import check_motion_layers, named_motion_layers

    adapter = read_config(spec, "motion_adapter")
    longest = adapter.get("motion_max_seq_length", 32)
    if config.context_length > longest:
        raise UsageError(
            f"the motion adapter of {spec.name} sees {longest} frames at once, and the context length is "
            f"{config.context_length}; lower it"
        )
    known = named_motion_layers(read_config(spec, "unet"), adapter)
    names = removed_layers(config, known)
    check_motion_layers(names, known)
    return names


def removed_layers(config: MotionConfig, known: Sequence[str]) -> list[str]:
    """Names of the motion layers to remove; ``paper`` stands for the paper's that the network has."""
    from toolkit.diffusion.motion_layers import PAPER

    if config.motion_layers == "none":
        return list(known)
    if config.motion_layers == "all":
        return []
    names: list[str] = []
    for name in ["paper"] if config.motion_layers == "paper" else config.motion_layers:
        names += [layer for layer in PAPER if layer in known] if name == "paper" else [name]
    return list(dict.fromkeys(names))


def resolve_denoising(
    config: DenoisingConfig, spec: BackboneSpec, steps: int, beta_schedule: str, motion_adapter: bool
) -> ResolvedDenoising:
    """Settle the settings of denoising; `beta_schedule` is the setting in `MotionConfig`."""
    own = spec.scheduler.class_name
    if beta_schedule == "auto":
        beta_schedule = (spec.motion_beta_schedule if motion_adapter else None) or BACKBONES_SCHEDULE
    return ResolvedDenoising(
        num_inference_steps=steps,
        strength=config.strength,
        guidance_scale=config.guidance_scale,
        controlnet_conditioning_scale=config.controlnet_conditioning_scale,
        scheduler=config.scheduler or (own if own in DISTILLED_SCHEDULERS else "DDIMScheduler"),
        beta_schedule=beta_schedule,
    )


def resolve_masking(config: MaskConfig, finds_masks: bool) -> ResolvedMasking:
    """Settle the settings of masks; `finds_masks` says whether masks are searched for."""
    return ResolvedMasking(
        finds_masks=finds_masks,
        blend_original=config.masks == "on",
        blend_range=config.blend_range,
        blend_width=config.blend_width,
        dilation=config.dilation,
        composite=resolved_composite(config),
        feather=config.feather,
        min_change=config.min_change,
        min_peak_change=config.min_peak_change,
    )


def resolved_composite(config: MaskConfig) -> Literal["mask", "crop"]:
    """What is pasted: with masks on their inside, else the whole crop, unless the settings say otherwise."""
    if config.composite == "auto":
        return "mask" if config.masks == "on" else "crop"
    return config.composite


def _finds_masks(config: MaskConfig, removers: Sequence[EditRemover]) -> bool:
    needed = config.masks == "on" or config.normalisation != "none" or resolved_composite(config) == "mask"
    return needed or any(remover.hint == "masked" for remover in removers)


def _remover(
    remover: EditRemover, config: MaskConfig, finds_masks: bool, exact: bool, steps: int, negative_prompt: str
) -> ResolvedRemover:
    if config.second_pass == "auto":
        second_pass = finds_masks and not exact and steps <= FEW_STEPS
    else:
        second_pass = config.second_pass == "on"
    normalisation: Normalisation
    if config.normalisation == "auto":
        # With masks on, blending preserves the colours already, and eq. 2 would only spoil them.
        normalisation = "ion" if config.masks == "off" and exact else "none"
    else:
        normalisation = config.normalisation
    return ResolvedRemover(
        name=remover.name,
        tasks=remover.tasks,
        origin=dict(remover.origin),
        prompt=remover.prompt,
        negative_prompt=negative_prompt,
        resolution=remover.resolution,
        hint=remover.hint,
        exact_masks=exact,
        fill_opaque=finds_masks and config.fill_opaque and remover.hint == "frame",
        second_pass=second_pass and remover.hint == "frame",
        normalisation=normalisation,
        controlnet=remover.controlnet,
    )
