"""Resolves the settings of an edit once, before anything is loaded: afterwards nothing is `auto` or unset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from toolkit.backbones import BackboneSpec, backbone_names, describe, provenance
from toolkit.backbones.locations import read_config
from toolkit.device import choose_device
from toolkit.edit.config import DenoisingConfig, EditConfig, MaskConfig, MotionConfig
from toolkit.edit.removers import EditRemover, edit_remover, inpainted_task, mask_task, removed_tasks
from toolkit.edit.resolved import (
    BACKBONES_SCHEDULE,
    OWN_FRAME,
    ResolvedDenoising,
    ResolvedEdit,
    ResolvedMasking,
    ResolvedMotion,
    ResolvedRemover,
    used_parts,
)
from toolkit.errors import ToolkitError, UsageError
from toolkit.presets import preset_options
from toolkit.registry import bare_name
from toolkit.remover import read_remover, shipped_remover
from toolkit.task import AttributeTask
from toolkit.validation import did_you_mean, validated

EMBEDDED = "nano"
"""Backbone of the removers that come with the tasks; it needs no download and no GPU."""

NUM_INFERENCE_STEPS = 20
"""Steps on a backbone that was not made for a number of steps."""

FEW_STEPS = 2
"""Most steps at which a second pass is cheap."""

DISTILLED_SCHEDULERS = ("LCMScheduler", "TCDScheduler")
"""A backbone with one of these was distilled for it."""

NOT_OF_SAMPLES = ("EulerAncestralDiscreteScheduler", "PNDMScheduler")
"""Classes of diffusers without a formula for a UNet that predicts the sample."""


def resolve(config: EditConfig) -> ResolvedEdit:
    """Resolve all settings of an edit; no weights are loaded.

    Raises:
        UsageError: an unknown backbone, task, option or device; a task without a remover for the backbone; a remover
            that removes none of the named tasks; or a setting that the backbone does not support.
        InputError: a remover or the backbone is incomplete, damaged or tampered with, or they do not fit each other.
        MissingExtra: a part of the backbone is not downloaded.
    """
    spec = describe(config.backbone or backbone_of(config))
    steps = config.denoising.num_inference_steps or spec.num_inference_steps or NUM_INFERENCE_STEPS
    denoising = validated(DenoisingConfig, config.denoising.model_dump() | {"num_inference_steps": steps})
    options = {bare_name(name): values for name, values in config.options.items()}
    named = {bare_name(name): name for name in (*config.options, *config.task) if ":" in name}
    chosen = chosen_removers(config, spec)
    if config.preset is not None:
        options = _over_preset(config.preset, [named.get(task, task) for task in _tasks_of(chosen)], options)
    removers = [edit_remover(name, spec, options).with_tasks(named) for name in chosen]
    _check_references(config.motion.reference_frames)
    _check_denoising(denoising, spec)
    compute = choose_device(config.device, None if denoising.dtype == "auto" else denoising.dtype)
    motion = resolve_motion(config.motion, spec, steps)
    known = {bare_name(task) for remover in removers for task in remover.tasks}
    for name in options:
        if name not in known:
            raise UsageError(
                f"there are options for the task {name!r}, but the removers' tasks are {', '.join(sorted(known))}"
                f"{did_you_mean(name, known)}"
            )
    finds_masks = _finds_masks(config.masking, removers)
    if config.masking.region == "masks" and not finds_masks:
        raise UsageError("--region masks needs masks, and these settings do not search for any: leave it at auto")
    resolved_options = dict(options)
    resolved_removers = []
    for remover in removers:
        tasks = [mask_task(name, options.get(bare_name(name))) for name in remover.tasks] if finds_masks else []
        resolved_options |= {task.name: task.options.model_dump(mode="json") for task in tasks}
        resolved_removers.append(_remover(remover, config.masking, tasks, steps))
    return ResolvedEdit(
        removers=tuple(resolved_removers),
        backbone=provenance(spec, used_parts(spec, motion.motion_adapter)),
        compute=compute,
        denoising=resolve_denoising(denoising, spec, steps, config.motion.beta_schedule, motion.motion_adapter),
        motion=motion,
        masking=resolve_masking(config.masking, finds_masks),
        crop=config.crop,
        faces=config.faces,
        options=resolved_options,
        seed=config.seed,
        spec=spec,
        work_dir=Path() if config.work_dir is None else config.work_dir.absolute(),
    )


def _tasks_of(removers: Sequence[Path]) -> list[str]:
    return sorted(set().union(*(removed_tasks(name) for name in removers)))


def _over_preset(preset: str, tasks: Sequence[str], given: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The given options of tasks over those that the tasks bring for a preset."""
    options = dict(given)
    for task in tasks:
        with suppress(ToolkitError):  # an edit without masks needs no task; others say what is wrong with it later
            if own := preset_options(preset, task):
                options[bare_name(task)] = own | options.get(bare_name(task), {})
    return options


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
        if not tasks & {bare_name(task) for task in config.task}:
            raise UsageError(
                f"the remover {name} removes {', '.join(sorted(tasks))}, and --task names {', '.join(config.task)}; "
                "drop one of the two"
            )
    chosen: list[Path] = []
    for task in config.task:
        mine = next((name for name, tasks in named.items() if bare_name(task) in tasks), None)
        remover = shipped_remover(task, spec.name) if mine is None else mine
        if remover not in chosen:
            chosen.append(remover)
    return chosen


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
    """Resolve the settings of motion, for an edit in `steps` denoising steps.

    Raises:
        UsageError: the backbone has no motion adapter, or its adapter does not support the settings.
    """
    if config.motion_layers == "auto":
        worth = steps >= spec.min_motion_steps
        config = config.model_copy(update={"motion_layers": "paper" if worth else "none"})
    adapter = config.motion_layers != "none" and spec.motion_adapter is not None
    if not adapter and not isinstance(config.motion_layers, str) and set(config.motion_layers) - {"paper"}:
        raise UsageError(
            f"--motion-layers names layers to remove, but the backbone {spec.name} has no motion adapter; drop the "
            "option"
        )
    removed = check_motion(spec, config) if adapter else []
    if adapter and len(removed) == len(_motion_layers(spec)):
        adapter, removed = False, []
    shared = not adapter or steps == 1  # in one step motion layers cannot bring together frames that start apart
    return ResolvedMotion(
        motion_adapter=adapter,
        removed_motion_layers=tuple(removed),
        context_length=config.context_length,
        context_overlap=config.context_overlap if adapter else 0,
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
    from toolkit.diffusion.motion_layers import check_motion_layers

    adapter = read_config(spec, "motion_adapter")
    longest = adapter.get("motion_max_seq_length", 32)
    if config.context_length > longest:
        raise UsageError(
            f"the motion adapter of {spec.name} sees {longest} frames at once, and the context length is "
            f"{config.context_length}; lower it"
        )
    known = _motion_layers(spec)
    names = removed_layers(config, known)
    check_motion_layers(names, known)
    return names


def _motion_layers(spec: BackboneSpec) -> list[str]:
    from toolkit.diffusion.motion_layers import named_motion_layers

    return named_motion_layers(read_config(spec, "unet"), read_config(spec, "motion_adapter"))


def removed_layers(config: MotionConfig, known: Sequence[str]) -> list[str]:
    """Names of the motion layers to remove if any are used; ``paper`` stands for the paper's that the network has."""
    from toolkit.diffusion.motion_layers import PAPER

    if config.motion_layers == "none":
        return list(known)
    if config.motion_layers == "all":
        return []
    names: list[str] = []
    for name in ["paper"] if config.motion_layers in ("auto", "paper") else config.motion_layers:
        names += [layer for layer in PAPER if layer in known] if name == "paper" else [name]
    return list(dict.fromkeys(names))


def resolve_denoising(
    config: DenoisingConfig, spec: BackboneSpec, steps: int, beta_schedule: str, motion_adapter: bool
) -> ResolvedDenoising:
    """Resolve the settings of denoising; `beta_schedule` is the setting in `MotionConfig`."""
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
    """Resolve the settings of masks; `finds_masks` says whether masks are searched for."""
    return ResolvedMasking(
        finds_masks=finds_masks,
        blend_original=config.masks == "on",
        blend_range=config.blend_range,
        blend_width=config.blend_width,
        blend_source=config.blend_source,
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
    remover: EditRemover,
    config: MaskConfig,
    tasks: Sequence[AttributeTask[Any]],
    steps: int,
) -> ResolvedRemover:
    exact, finds_masks = all(task.exact_mask for task in tasks), bool(tasks)
    if config.second_pass == "auto":
        # A second pass over a search area shows the remover fills in the place of all that it removed.
        second_pass = finds_masks and not exact and steps <= FEW_STEPS and remover.filled in ("all", None)
    else:
        second_pass = config.second_pass == "on"
    region: Literal["crop", "masks"]
    if config.region == "auto":
        region = "masks" if remover.regions and finds_masks else "crop"
    else:
        region = config.region
    # Records without this entry are of removers that were made for filled pictures.
    fill_opaque = remover.filled != "none" if config.fill_opaque is None else config.fill_opaque
    return ResolvedRemover(
        name=remover.name,
        tasks=remover.tasks,
        origin=dict(remover.origin),
        prompt=remover.prompt,
        negative_prompt=", ".join(task.negative_prompt for task in tasks if task.negative_prompt),
        resolution=remover.resolution,
        hint=remover.hint,
        exact_masks=exact,
        spares_eyes=bool(tasks) and all(task.spares_eyes for task in tasks),
        fill_opaque=finds_masks and fill_opaque and remover.hint == "frame",
        keep_detail=bool(tasks)
        and config.keep_detail
        and remover.hint == "frame"
        and all(task.see_through for task in tasks),
        second_pass=second_pass and remover.hint == "frame",
        region=region,
        normalisation="none" if config.normalisation == "auto" else config.normalisation,
        controlnet=remover.controlnet,
    )
