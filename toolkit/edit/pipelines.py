"""Loads the backbone and the removers into a pipeline that is ready to edit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.backbones import BackboneSpec, load
from toolkit.clock import StageClock
from toolkit.device import ComputeDevice
from toolkit.edit.config import DenoisingConfig, EditConfig, MaskConfig, MotionConfig
from toolkit.edit.resolve import resolve
from toolkit.edit.resolved import (
    BACKBONES_SCHEDULE,
    ResolvedDenoising,
    ResolvedEdit,
    ResolvedMotion,
    ResolvedRemover,
)
from toolkit.errors import InputError
from toolkit.imports import uncollected

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel, UNetMotionModel

    from toolkit.backbones import Backbone
    from toolkit.diffusion import VideoEditPipeline

ANIMATEDIFF = {"beta_start": 0.00085, "beta_end": 0.012}
"""The noise schedule of an AnimateDiff adapter, apart from its shape."""

SPACING = "trailing"
"""Spacing of the timesteps, as in finetuning's trials. With AnimateDiff's usual ``linspace`` DDIM steps by less than
the distance of its timesteps: 20 steps that predict the noise without error leave a deviation of 0.18, here 0.03."""


def load_pipeline(
    remover: str | Path,
    backbone: str | Path | None = None,
    *,
    denoising: DenoisingConfig | None = None,
    motion: MotionConfig | None = None,
    device: str | None = None,
) -> VideoEditPipeline:
    """Load the pipeline of a remover, for frames in memory; nothing is downloaded.

    Args:
        remover: folder of the remover, or ``inpaint:TASK`` for the backbone's own inpainting.
        backbone: name or folder of the models that it was trained on; if None, the backbone that the remover names.
        denoising: its `scheduler` and `dtype` are used.
        motion: which motion layers are used.
        device: torch device; the fastest one if None.

    Raises:
        InputError: the remover or the backbone is incomplete, damaged or tampered with, or the remover was made for
            another backbone.
        UsageError: an unknown name or device.
        MissingExtra: weights are not downloaded.
        ToolkitError: the device has no memory left.
    """
    config = EditConfig(
        remover=[Path(remover)],
        backbone=None if backbone is None else str(backbone),
        denoising=denoising or DenoisingConfig(),
        motion=motion or MotionConfig(),
        # The caller brings the masks, so the remover's task need not be installed.
        masking=MaskConfig(masks="off", normalisation="none", composite="crop"),
        device=device,
    )
    return Pipelines(resolve(config)).with_remover(0)


class ImportAhead(threading.Thread):
    """Imports what runs the networks, which takes seconds, while native code finds faces; started at once.

    Nothing is loaded yet. diffusers patches torch while it loads, which would spoil models that other threads build.

    Args:
        clock: counts it as a stage.
    """

    def __init__(self, clock: StageClock):
        super().__init__(name="toolkit-import", daemon=True)
        self._clock, self._cpu = clock, 0.0
        self.start()

    def run(self) -> None:
        # An error comes again once the networks are needed.
        with self._clock.stage("imports"), suppress(Exception), uncollected():
            import toolkit.diffusion.edit_pipeline  # noqa: F401
        self._cpu = time.thread_time()

    @property
    def cpu(self) -> float:
        """CPU seconds until now; 0 until it has ended where the system does not tell them."""
        if self.is_alive() and self.ident is not None and hasattr(time, "pthread_getcpuclockid"):
            with suppress(OSError):  # it ended just now
                return time.clock_gettime(time.pthread_getcpuclockid(self.ident))
        return self._cpu


class Pipelines:
    """One pipeline, whose remover is exchanged; models are loaded at their first use, and stay.

    Args:
        resolved: settings of the edit.
        models: of a sibling, for the pipeline of another thread; new ones if None.
    """

    def __init__(self, resolved: ResolvedEdit, models: _Models | None = None):
        self._resolved = resolved
        self._models = models or _Models(resolved)
        self._pipeline: VideoEditPipeline | None = None

    def sibling(self) -> Pipelines:
        """A pipeline for another thread, which shares the models."""
        return Pipelines(self._resolved, self._models)

    def with_remover(self, index: int) -> VideoEditPipeline:
        """The pipeline with the remover of that index.

        Raises:
            InputError: weights are damaged or do not fit.
            ToolkitError: the device has no memory left.
        """
        if self._pipeline is None:
            self._pipeline = self._made(index)
        self._pipeline.register_modules(controlnet=self._models.controlnet(index))
        self._pipeline.register_to_config(hint=self._resolved.removers[index].hint)
        return self._pipeline

    def _made(self, index: int) -> VideoEditPipeline:
        with uncollected():
            from toolkit.diffusion import VideoEditPipeline

        backbone, unet = self._models.backbone()
        pipeline = VideoEditPipeline(
            vae=backbone.vae,
            text_encoder=backbone.text_encoder,
            tokenizer=backbone.tokenizer,
            unet=unet,
            controlnet=self._models.controlnet(index),
            scheduler=make_scheduler(backbone, self._resolved.denoising),
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


class _Models:
    """The networks, which the pipelines of all threads use at once: they keep nothing from one call to the next."""

    def __init__(self, resolved: ResolvedEdit):
        self._resolved = resolved
        self._lock = threading.Lock()  # diffusers patches torch while it loads
        self._backbone: tuple[Backbone, Any] | None = None
        self._controlnets: dict[int, Any] = {}

    def backbone(self) -> tuple[Backbone, Any]:
        """The backbone, and its UNet with the motion layers that are used."""
        with self._lock:
            if self._backbone is None:
                backbone = load(self._resolved.spec, self._resolved.parts, self._resolved.compute)
                self._backbone = backbone, motion_unet(backbone, self._resolved.motion)
            return self._backbone

    def controlnet(self, index: int) -> Any:
        """The model of a remover."""
        with self._lock:
            if index not in self._controlnets:
                remover, spec = self._resolved.removers[index], self._resolved.spec
                self._controlnets[index] = load_controlnet(remover, spec, self._resolved.compute)
            return self._controlnets[index]


def load_controlnet(remover: ResolvedRemover, spec: BackboneSpec, compute: ComputeDevice) -> Any:
    """Load a remover's model in the same way as a part of its backbone.

    Raises:
        InputError: its files are damaged or do not fit the backbone.
    """
    named = spec.model_copy(update={"controlnet_tile": remover.controlnet, "name": f"{spec.name} with {remover.name}"})
    return load(named, ("controlnet_tile",), compute).controlnet_tile


def motion_unet(backbone: Backbone, motion: ResolvedMotion) -> UNetMotionModel | UNet2DConditionModel:
    """The UNet with the motion layers that are used; the backbone's own if none are."""
    if not motion.motion_adapter or backbone.unet is None:
        return backbone.unet
    from diffusers import UNetMotionModel

    from toolkit.diffusion.motion_layers import remove_motion_layers

    with _quiet():  # it warns of its own cast
        unet = UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter)
    remove_motion_layers(unet, motion.removed_motion_layers)
    return backbone.compute.prepare(unet.eval().requires_grad_(False))


@contextmanager
def _quiet() -> Iterator[None]:
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def make_scheduler(backbone: Backbone, denoising: ResolvedDenoising) -> Any:
    """The scheduler of an edit.

    Raises:
        InputError: the class cannot be made from the backbone's values.
    """
    import diffusers

    changes: dict[str, Any] = {"clip_sample": False, "timestep_spacing": SPACING}
    if denoising.scheduler == "PNDMScheduler":
        changes["skip_prk_steps"] = True  # as in Stable Diffusion; the others need extra steps
    if denoising.beta_schedule != BACKBONES_SCHEDULE:
        changes |= {**ANIMATEDIFF, "beta_schedule": denoising.beta_schedule}
    try:
        return getattr(diffusers, denoising.scheduler).from_config(backbone.scheduler.config, **changes)
    except (ValueError, NotImplementedError, ImportError) as error:
        raise InputError(
            f"a {denoising.scheduler} cannot be made from the scheduler of {backbone.spec.name}: {error}"
        ) from error
