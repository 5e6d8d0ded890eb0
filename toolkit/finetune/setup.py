"""Prepares models and data for training."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from toolkit.backbones import Backbone
from toolkit.backbones.compatible import cell_size, controlnet_problems
from toolkit.device import ComputeDevice
from toolkit.errors import InputError, UsageError
from toolkit.finetune.cache import CacheFolder, LatentCache
from toolkit.finetune.checkpoints import CONTROLNET
from toolkit.finetune.config import FinetuneConfig
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
    """The ControlNet to train, in float32 on the backbone's device.

    Raises:
        InputError: the weights to start from are damaged or do not fit the UNet.
    """
    from diffusers import ControlNetModel

    folder = plan.checkpoint.folder / CONTROLNET if plan.checkpoint else plan.init
    if folder is not None:
        controlnet = _from_folder(folder, backbone)
    elif plan.config.init == "tile":
        controlnet = backbone.controlnet_tile
    else:
        levels = cell_size(backbone.vae.config).bit_length()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(plan.config.seed)  # for the hint layers, which the UNet does not have
            controlnet = ControlNetModel.from_unet(
                backbone.unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[:levels]
            )
    # diffusers writes the folder that a model came from into its config, which would reveal a local path.
    controlnet.register_to_config(_name_or_path="")
    compute = backbone.compute
    controlnet = ComputeDevice(compute.device, "float32", compute.channels_last).prepare(controlnet)
    return controlnet.requires_grad_(True).train()


def _from_folder(folder: Path, backbone: Backbone) -> Any:
    from diffusers import ControlNetModel
    from safetensors import SafetensorError

    try:
        controlnet, info = ControlNetModel.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"the ControlNet in {folder} is damaged: {str(error).splitlines()[0]}") from error
    if info["missing_keys"]:
        raise InputError(f"the ControlNet in {folder} is damaged: it lacks {info['missing_keys'][0]}")
    problems = controlnet_problems("ControlNet", controlnet.config, backbone.unet.config, backbone.vae.config)
    if problem := next(problems, None):
        raise InputError(f"the ControlNet in {folder} does not fit the backbone {backbone.spec.name}: {problem}")
    return controlnet


def make_optimizer(config: FinetuneConfig, controlnet: Any) -> torch.optim.Optimizer:
    """AdamW with the settings of the config.

    Raises:
        UsageError: 8-bit moments are not available on this machine.
    """
    settings = config.optimisation
    values: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": (settings.adam_beta1, settings.adam_beta2),
        "weight_decay": settings.adam_weight_decay,
        "eps": settings.adam_epsilon,
    }
    if not settings.use_8bit_adam:
        return torch.optim.AdamW(controlnet.parameters(), fused=controlnet.device.type in ("cpu", "cuda"), **values)
    try:
        import bitsandbytes

        return bitsandbytes.optim.AdamW8bit(controlnet.parameters(), **values)
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
