"""Prepares models and data for training."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from toolkit.backbones import Backbone, Part, load
from toolkit.backbones.compatible import cell_size, controlnet_problems
from toolkit.backbones.locations import read_config
from toolkit.device import ComputeDevice
from toolkit.errors import InputError, UsageError
from toolkit.finetune.cache import CacheFolder, LatentCache
from toolkit.finetune.checkpoints import CONTROLNET
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.lora import attach_lora, load_trained, trained_parameters
from toolkit.finetune.plan import Plan
from toolkit.progress import Observer


@dataclass(frozen=True)
class Setup:
    """Models and data of one process.

    Attributes:
        backbone: the frozen models.
        controlnet: the model in training, in float32.
        scheduler: adds the noise of the training.
        cache: the pairs, encoded or not.
        states: encoded prompts by their texts, ``[N, D]`` each, on the device.
    """

    backbone: Backbone
    controlnet: Any
    scheduler: Any
    cache: LatentCache
    states: dict[str, torch.Tensor]


def make_accelerator(config: FinetuneConfig) -> Any:
    """An `Accelerator` with the settings of `accelerate launch`.

    Raises:
        UsageError: the device does not support the mixed precision.
    """
    from accelerate import Accelerator
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, ProjectConfiguration

    settings = config.optimisation
    try:
        accelerator = Accelerator(
            cpu=config.cpu,
            mixed_precision=settings.mixed_precision,
            # A plugin, because an environment variable would override a plain number.
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=settings.gradient_accumulation_steps, sync_with_dataloader=False
            ),
            # The other processes wait while the first one checks a large dataset or validates.
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))],
            log_with=None if config.report_to == "none" else config.report_to,
            project_config=ProjectConfiguration(str(config.output), logging_dir=str(config.output / "logs")),
        )
    except (ValueError, RuntimeError) as error:  # such as fp16 on a CPU
        raise UsageError(f"accelerate cannot be set up with these settings: {error}") from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type != "cuda":
        forget(accelerator)
        raise UsageError("--mixed-precision fp16 needs a CUDA device; use bf16 or no")
    return accelerator


def forget(accelerator: Any) -> None:
    """Reset accelerate's process-wide precision and device, so that a later training can use others."""
    from accelerate.state import AcceleratorState

    if accelerator.num_processes == 1:
        accelerator.free_memory()
        AcceleratorState._reset_state(reset_partial_state=True)


def compute_device_of(accelerator: Any) -> ComputeDevice:
    """The device of this process, with the number format of the mixed precision, for the frozen models."""
    dtype = {"fp16": "float16", "bf16": "bfloat16"}.get(accelerator.mixed_precision, "float32")
    device = accelerator.device
    return ComputeDevice(str(device), dtype, device.type == "cpu" or (device.type == "cuda" and dtype != "float32"))


def advice_for(plan: Plan, backbone: Backbone) -> str | None:
    """What to change so that the training fits the GPU's free memory; None if it fits."""
    from toolkit.finetune.memory import GIB, memory_advice, training_memory

    unet, vae, config = backbone.unet, backbone.vae, plan.config
    assert unet is not None and vae is not None  # they were loaded
    checkpointing = config.optimisation.gradient_checkpointing
    size = config.region or (plan.resolution, plan.resolution)
    tile = plan.spec.controlnet_tile
    controlnet = dict(unet.config) if tile is None else read_config(plan.spec, "controlnet_tile")

    def needed(way: bool) -> float:
        return (
            training_memory(
                unet.config,
                controlnet,
                batch=config.optimisation.train_batch_size,
                latents=(unet.config.in_channels, size[1] // cell_size(vae.config), size[0] // cell_size(vae.config)),
                tokens=77,
                dtype=backbone.compute.torch_dtype,
                checkpointing=way,
                lora_rank=config.lora_rank,
            ).total
            / GIB
        )

    loaded = sum(value.numel() * value.element_size() for value in unet.parameters()) / GIB
    free = torch.cuda.mem_get_info(backbone.compute.device)[0] / GIB + loaded
    try:
        return memory_advice(needed(checkpointing), needed(True), free, checkpointing)
    except RuntimeError:  # a model with layers that have no shapes without content; training itself is not concerned
        return None


def make_setup(
    plan: Plan, accelerator: Any, backbone: Backbone, held_out_texts: Collection[str], observer: Observer
) -> Setup:
    """Fill the cache and build the ControlNet. Every process encodes a share of the pictures.

    Raises:
        InputError: a dataset is not sound, or the weights to start from are damaged or do not fit the UNet.
    """
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(backbone.scheduler.config)
    folder = CacheFolder(plan.config, plan.datasets, plan.spec, backbone.compute.torch_dtype)
    with contextlib.ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(folder.claimed())
            folder.prepare(observer)
        accelerator.wait_for_everyone()
        cache = folder.open()
        _fill(folder, cache, accelerator, backbone, observer)
        with accelerator.main_process_first():
            states = folder.prompts(cache, backbone, held_out_texts)
        accelerator.wait_for_everyone()
    compute = backbone.compute
    states = {text: value.to(compute.device, compute.torch_dtype) for text, value in states.items()}
    return Setup(backbone, make_controlnet(plan, backbone), scheduler, cache, states)


def _fill(folder: CacheFolder, cache: LatentCache, accelerator: Any, backbone: Backbone, observer: Observer) -> None:
    missing = folder.missing(cache)
    accelerator.wait_for_everyone()  # every process must count the missing files before any is written
    if not missing:
        return
    done = len(cache) - sum(len(cache.entries(chunk)) for chunk in missing)
    observer.phase("encoding", len(cache), "pictures", done)

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count * accelerator.num_processes, len(cache))  # the others are about as fast
        observer.advance(done)

    folder.fill(cache, backbone, missing[accelerator.process_index :: accelerator.num_processes], advance)


def make_controlnet(plan: Plan, backbone: Backbone) -> Any:
    """The ControlNet to train, in float32 on the backbone's device; with low-rank layers if the config has a rank.

    The frozen models may have a narrower number format, but these weights start exactly as they are in the file.

    Raises:
        InputError: the weights to start from are damaged or do not fit the UNet.
    """
    rank, checkpoint, init = plan.config.lora_rank, plan.checkpoint, plan.init
    if rank is not None:
        controlnet = attach_lora(_load_part(plan, backbone, plan.spec.controlnet_tile), rank, plan.config.seed)
        folder = checkpoint.folder / CONTROLNET if checkpoint else init.controlnet if init else None
        if folder is not None:
            _resume_lora(controlnet, folder)
    elif checkpoint is not None:
        controlnet = _load_part(
            plan, backbone, Part(class_name="ControlNetModel", folder=checkpoint.folder / CONTROLNET)
        )
    elif init is not None:
        controlnet = _load_part(plan, backbone, init.part(plan.spec))
    elif plan.config.init == "tile":
        controlnet = _load_part(plan, backbone, plan.spec.controlnet_tile)
    else:
        controlnet = _of_unet(plan, backbone)
    if rank is None:
        controlnet.requires_grad_(True)
    # diffusers writes the folder that a model came from into its config, which would reveal a local path.
    controlnet.register_to_config(_name_or_path="")
    return controlnet.train()


def _resume_lora(controlnet: Any, folder: Path) -> None:
    from safetensors import SafetensorError

    try:
        load_trained(controlnet, folder)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the low-rank layers in {folder} cannot be used: {reason}") from error


def _load_part(plan: Plan, backbone: Backbone, part: Part | None) -> Any:
    """Load a ControlNet in float32, in the place of the backbone's tile ControlNet.

    Raises:
        InputError: it is damaged, or does not fit the UNet or the VAE.
    """
    compute = ComputeDevice(backbone.compute.device, "float32", backbone.compute.channels_last)
    spec = plan.spec.model_copy(update={"controlnet_tile": part})
    controlnet = load(spec, ("controlnet_tile",), compute).controlnet_tile
    assert controlnet is not None and backbone.unet is not None and backbone.vae is not None  # they were loaded
    problems = controlnet_problems("ControlNet", controlnet.config, backbone.unet.config, backbone.vae.config)
    if problem := next(problems, None):
        where = "" if part is None or part.folder is None else f" in {part.folder}"
        raise InputError(f"the ControlNet{where} does not fit the backbone {plan.spec.name}: {problem}")
    return controlnet


def _of_unet(plan: Plan, backbone: Backbone) -> Any:
    """A copy of the UNet's encoder, with new layers for the hint."""
    from diffusers import ControlNetModel

    levels = cell_size(backbone.vae.config).bit_length()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.config.seed)  # for the hint layers, which the UNet does not have
        controlnet = ControlNetModel.from_unet(
            backbone.unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[:levels]
        )
    return ComputeDevice(backbone.compute.device, "float32", backbone.compute.channels_last).prepare(controlnet)


def make_optimizer(config: FinetuneConfig, controlnet: Any) -> torch.optim.Optimizer:
    """AdamW with the settings of the config.

    Raises:
        UsageError: 8-bit moments are not available on this machine.
    """
    settings, trained = config.optimisation, trained_parameters(controlnet)
    values: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.adam_beta1, settings.adam_beta2),
        "weight_decay": settings.adam_weight_decay,
        "eps": settings.adam_epsilon,
    }
    if not settings.use_8bit_adam:
        return torch.optim.AdamW(trained, fused=controlnet.device.type in ("cpu", "cuda"), **values)
    try:
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(trained, **values)
    except (ImportError, RuntimeError) as error:
        raise UsageError(f"--use-8bit-adam is not available: {error}") from error


def make_lr_scheduler(config: FinetuneConfig, optimizer: torch.optim.Optimizer) -> Any:
    """diffusers' learning-rate schedule of the configured name."""
    from diffusers.optimization import get_scheduler

    settings = config.optimisation
    return get_scheduler(
        settings.lr_scheduler,
        optimizer=optimizer,
        num_warmup_steps=settings.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )
