"""From removers and a backbone to a pipeline that is ready to edit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.backbones import BackboneSpec, load
from toolkit.device import ComputeDevice, choose_device
from toolkit.edit.config import DenoisingConfig, EditConfig, MotionConfig
from toolkit.edit.removers import EditRemover, edit_remover
from toolkit.edit.settling import settle
from toolkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from diffusers import UNetMotionModel

    from toolkit.backbones import Backbone
    from toolkit.diffusion import VideoEditPipeline

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")

ANIMATEDIFF = {"beta_start": 0.00085, "beta_end": 0.012}
"""What the noise schedule of an AnimateDiff adapter has besides its shape."""

SPACING = "trailing"
"""Of the timesteps, as in finetuning's trials. With AnimateDiff's usual ``linspace`` DDIM steps by less than the
distance of its timesteps: of 20 steps that predict the noise without error a deviation of 0.18 is left, here 0.03."""

NOT_OF_SAMPLES = ("EulerAncestralDiscreteScheduler", "PNDMScheduler")
"""Classes of diffusers that have no formula for a UNet which predicts the sample."""

FEW_STEPS = ("LCMScheduler", "TCDScheduler")
"""A backbone that has one of these was distilled for it."""


def load_pipeline(
    remover: str | Path,
    backbone: str | Path | None = None,
    *,
    denoising: DenoisingConfig | None = None,
    motion: MotionConfig | None = None,
    device: str | None = None,
) -> VideoEditPipeline:
    """The pipeline of a remover, for frames in memory; nothing is downloaded.

    Args:
        remover: folder of the remover, or ``inpaint:TASK`` for the backbone's own inpainting.
        backbone: the models that it was trained on: a name, or a folder; the one that the remover names if None.
        denoising: for its `scheduler` and `dtype`.
        motion: which motion layers are used.
        device: torch device; the best one if None.

    Raises:
        InputError: the remover or the backbone is incomplete, damaged or tampered with, or the remover was made for
            another backbone.
        UsageError, MissingExtra: an unknown name or device, or weights that are not here.
        ToolkitError: the device has no memory left.
    """
    config = EditConfig(
        remover=[remover],
        backbone=None if backbone is None else str(backbone),
        denoising=denoising or DenoisingConfig(),
        motion=motion or MotionConfig(),
        device=device,
    )
    return EditModels(config).pipeline(0)


class EditModels:
    """The removers of an edit and their one backbone; models are loaded when they are used, and stay.

    Raises:
        InputError: a remover or the backbone is incomplete, damaged or tampered with, or does not fit the other.
        UsageError, MissingExtra: an unknown backbone or device, a setting that these do not have, or a part that is
            not here.
    """

    def __init__(self, config: EditConfig):
        config, self.spec = settle(config)
        self.config = config
        """The settings with nothing left open."""
        self.removers = [edit_remover(word, self.spec, config.options) for word in config.remover]
        _check_references(config.motion.reference_frames)
        if self.spec.prediction_type == "sample" and config.denoising.scheduler in NOT_OF_SAMPLES:
            raise UsageError(
                f"{config.denoising.scheduler} cannot be used with {self.spec.name}, whose UNet predicts the sample; "
                "leave --scheduler out or choose another one"
            )
        if config.denoising.guidance_scale > 1 and self.spec.tokenizer is None:
            raise UsageError(
                f"the backbone {self.spec.name} has one learned prompt, so there is nothing to guide by: leave "
                "--guidance-scale at 1"
            )
        dtype = None if config.denoising.dtype == "auto" else config.denoising.dtype
        self.compute = choose_device(config.device, dtype)
        adapter = "motion_adapter" in self.parts
        if not adapter and config.motion.removed_motion_layers not in ([], ["paper"]):
            raise UsageError(
                "motion layers are named to be left out, and none are used: --motion is off, or the backbone "
                f"{self.spec.name} has no motion adapter"
            )
        self.left_out = check_motion(self.spec, config.motion) if adapter else []
        """Motion layers that are left out of those of the adapter."""
        self._pipeline: VideoEditPipeline | None = None
        self._controlnets: dict[int, Any] = {}

    @property
    def resolution(self) -> int:
        """Side of the crops in pixels: the largest that a remover was trained on."""
        return max(remover.resolution for remover in self.removers)

    @property
    def parts(self) -> tuple[str, ...]:
        """The backbone's parts that are used."""
        wanted = (*PARTS, "motion_adapter") if self.config.motion.motion else PARTS
        return tuple(name for name in wanted if name in self.spec.parts)

    def pipeline(self, index: int) -> VideoEditPipeline:
        """The pipeline with the remover of that index.

        Raises:
            InputError: weights are damaged or do not fit.
            ToolkitError: the device has no memory left.
        """
        if self._pipeline is None:
            self._pipeline = self._load(index)
        self._pipeline.register_modules(controlnet=self._controlnet(index))
        self._pipeline.register_to_config(hint=self.removers[index].hint)
        return self._pipeline

    def _load(self, index: int) -> VideoEditPipeline:
        from toolkit.diffusion import VideoEditPipeline

        backbone = load(self.spec, self.parts, self.compute)
        unet = motion_unet(backbone, self.config.motion)
        pipeline = VideoEditPipeline(
            vae=backbone.vae,
            text_encoder=backbone.text_encoder,
            tokenizer=backbone.tokenizer,
            unet=unet,
            controlnet=self._controlnet(index),
            scheduler=make_scheduler(backbone, self.config),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _controlnet(self, index: int) -> Any:
        if index not in self._controlnets:
            self._controlnets[index] = load_controlnet(self.removers[index], self.spec, self.compute)
        return self._controlnets[index]


def _check_references(policy: str | None) -> None:
    from toolkit.diffusion.references import reference_indices

    if policy is None:
        return
    if policy.strip()[:1].isdigit():
        raise UsageError(
            f"shots differ in length, so the reference frames {policy!r} are not in all of them; choose first, "
            "first+middle or uniform:K"
        )
    reference_indices(policy, 1)


def load_controlnet(remover: EditRemover, spec: BackboneSpec, compute: ComputeDevice) -> Any:
    """The remover's model, by the same way as a part of its backbone.

    Raises:
        InputError: its files are damaged or do not fit the backbone.
    """
    named = spec.model_copy(update={"controlnet_tile": remover.controlnet, "name": f"{spec.name} with {remover.name}"})
    return load(named, ("controlnet_tile",), compute).controlnet_tile


def motion_unet(backbone: Backbone, config: MotionConfig) -> UNetMotionModel:
    """The UNet with the motion layers that are wanted; with none where there is no motion adapter."""
    from diffusers import UNetMotionModel

    from toolkit.diffusion.motion_layers import motion_layer_names, remove_motion_layers

    adapter = backbone.motion_adapter
    with _quiet():  # it warns of its own cast
        unet = UNetMotionModel.from_unet2d(backbone.unet, adapter)
    known = motion_layer_names(unet)
    remove_motion_layers(unet, known if adapter is None else left_out(config, known))
    return backbone.compute.prepare(unet.eval().requires_grad_(False))


def check_motion(spec: BackboneSpec, config: MotionConfig) -> list[str]:
    """Compare the settings with the configuration of the motion adapter, before any weight is read.

    Returns:
        Names of the layers that will be left out.

    Raises:
        UsageError: a layer that it does not have, or a context that it cannot see at once.
    """
    from toolkit.backbones.locations import read_config
    from toolkit.diffusion.motion_layers import check_motion_layers, named_motion_layers

    adapter = read_config(spec, "motion_adapter")
    longest = adapter.get("motion_max_seq_length", 32)
    if config.context_length > longest:
        raise UsageError(
            f"the motion adapter of {spec.name} sees {longest} frames at once, and the context length is "
            f"{config.context_length}; lower it"
        )
    known = named_motion_layers(read_config(spec, "unet"), adapter)
    names = left_out(config, known)
    check_motion_layers(names, known)
    return names


def left_out(config: MotionConfig, known: Sequence[str]) -> list[str]:
    """Names of the layers to leave out; ``paper`` stands for those of the paper's that are there."""
    from toolkit.diffusion.motion_layers import PAPER

    names: list[str] = []
    for word in config.removed_motion_layers:
        names += [name for name in PAPER if name in known] if word == "paper" else [word]
    return list(dict.fromkeys(names))


@contextmanager
def _quiet() -> Iterator[None]:
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def make_scheduler(backbone: Backbone, config: EditConfig) -> Any:
    """The scheduler of an edit: DDIM unless another one is named, with the noise schedule of the motion adapter.

    Raises:
        InputError: the class cannot be made with the backbone's values.
    """
    import diffusers

    base = backbone.scheduler
    name = config.denoising.scheduler or (type(base).__name__ if type(base).__name__ in FEW_STEPS else "DDIMScheduler")
    betas = config.motion.beta_schedule
    if betas == "auto":
        betas = backbone.spec.motion_beta_schedule if backbone.motion_adapter is not None else None
    changes: dict[str, Any] = {"clip_sample": False, "timestep_spacing": SPACING}
    if name == "PNDMScheduler":
        changes["skip_prk_steps"] = True  # as in Stable Diffusion; the others need steps of their own
    if betas is not None:
        changes |= {**ANIMATEDIFF, "beta_schedule": betas}
    try:
        return getattr(diffusers, name).from_config(base.config, **changes)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise InputError(f"a {name} cannot be made from the scheduler of {backbone.spec.name}: {error}") from error
