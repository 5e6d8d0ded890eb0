"""From a plan to models and data that are ready to train."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
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
from toolkit.finetune.report import FinetuneObserver


def make_accelerator(config: FinetuneConfig) -> Any:
    """accelerate's Accelerator; it knows what `accelerate launch` says about processes and precision.

    Raises:
        UsageError: the mixed precision cannot be had on this device.
    """
    from accelerate import Accelerator
    from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs, ProjectConfiguration

    settings = config.optimisation
    try:
        accelerator = Accelerator(
            cpu=config.cpu,
            mixed_precision=settings.mixed_precision,
            # As a plugin, for the environment would win over a number.
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=settings.gradient_accumulation_steps, sync_with_dataloader=False
            ),
            # The others wait while the first process checks a large dataset or validates.
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
    """accelerate keeps precision and device for the whole process; another training in it may want others."""
    from accelerate.state import AcceleratorState

    if accelerator.num_processes == 1:
        accelerator.free_memory()
        AcceleratorState._reset_state(reset_partial_state=True)


def compute_device_of(accelerator: Any) -> ComputeDevice:
    """Where the frozen models run: on this process' device, in the number format of the mixed precision."""
    dtype = {"fp16": "float16", "bf16": "bfloat16"}.get(accelerator.mixed_precision, "float32")
    device = accelerator.device
    return ComputeDevice(str(device), dtype, device.type == "cpu" or (device.type == "cuda" and dtype != "float32"))


def make_cache(
    plan: Plan,
    accelerator: Any,
    backbone: Backbone,
    held_out_texts: Collection[str],
    observer: FinetuneObserver,
) -> tuple[LatentCache, dict[str, torch.Tensor]]:
    """The filled cache, and the encoded prompts on the device; every process encodes a share of the files.

    Raises:
        InputError: a dataset is not sound.
    """
    folder = CacheFolder(plan.config, plan.datasets, plan.spec, backbone.compute.torch_dtype)
    with contextlib.ExitStack() as held:
        if accelerator.is_main_process:
            held.enter_context(folder.claimed())
            folder.prepare(observer.checking)
        accelerator.wait_for_everyone()
        return _filled(folder, accelerator, backbone, held_out_texts, observer)


def _filled(
    folder: CacheFolder,
    accelerator: Any,
    backbone: Backbone,
    held_out_texts: Collection[str],
    observer: FinetuneObserver,
) -> tuple[LatentCache, dict[str, torch.Tensor]]:
    cache = folder.open()
    missing = folder.missing(cache)
    accelerator.wait_for_everyone()  # nobody may begin before all have counted what is missing
    done = len(cache) - sum(len(cache.entries(chunk)) for chunk in missing)

    def told(count: int) -> None:
        nonlocal done
        done = min(done + count * accelerator.num_processes, len(cache))  # the others are about as fast
        observer.encoding(done, len(cache))

    folder.fill(cache, backbone, missing[accelerator.process_index :: accelerator.num_processes], told)
    with accelerator.main_process_first():
        states = folder.prompts(cache, backbone, held_out_texts)
    accelerator.wait_for_everyone()
    compute = backbone.compute
    return cache, {text: value.to(compute.device, compute.torch_dtype) for text, value in states.items()}


def make_controlnet(plan: Plan, backbone: Backbone) -> Any:
    """The ControlNet to train, in float32 on the device of the backbone.

    Raises:
        InputError: the weights to start from are damaged, or do not fit the UNet.
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
            torch.manual_seed(plan.config.seed)  # of the layers that take the hint
            controlnet = ControlNetModel.from_unet(
                backbone.unet, conditioning_embedding_out_channels=(16, 32, 96, 256)[:levels]
            )
    # diffusers writes the folder that a model came from into its config: a path of this machine.
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
        UsageError: 8-bit moments were asked for and cannot be had.
    """
    settings = config.optimisation
    values = {
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
        raise UsageError(f"--use-8bit-adam cannot be had here: {error}") from error


def make_lr_scheduler(config: FinetuneConfig, optimizer: torch.optim.Optimizer) -> Any:
    """diffusers' schedule of that name."""
    from diffusers.optimization import get_scheduler

    settings = config.optimisation
    return get_scheduler(
        settings.lr_scheduler,
        optimizer=optimizer,
        num_warmup_steps=settings.lr_warmup_steps,
        num_training_steps=config.max_train_steps,
    )
