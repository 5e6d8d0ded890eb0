"""``finetune``: datasets of pairs in, a remover out."""

from __future__ import annotations

import contextlib
import os

from toolkit.backbones import load
from toolkit.dataset.layout import dump_json
from toolkit.device import flushed_denormals
from toolkit.errors import ToolkitError
from toolkit.files import locked
from toolkit.finetune.checkpoints import SaveError
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.plan import SETTINGS, Plan, make_plan
from toolkit.finetune.report import FinetuneObserver, FinetuneReport
from toolkit.interruption import asked_to_stop


def finetune(config: FinetuneConfig, observer: FinetuneObserver | None = None) -> FinetuneReport | None:
    """Train a ControlNet to map frames with the attribute to frames without it (V-LASIK, section 4.2).

    Its hint is the `conditioning_image`, its target the `image`. Training ends when trials on held-out sources gain no
    more removal than artefacts, or after `max_train_steps`. The same config and data give the same training, however
    often it was interrupted and resumed.

    Args:
        config: what to train.
        observer: is told how it goes.

    Returns:
        What came out; None in all processes but the first, where `accelerate launch` has started several.

    Raises:
        UsageError: settings, datasets, backbone and output do not fit together.
        InputError: a dataset, a picture, weights or a checkpoint are damaged.
        MissingExtra: something must be installed or fetched first.
        ToolkitError: the loss is not finite, the disk is full, or memory is short; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; where training had begun a checkpoint was written.
    """
    plan = make_plan(config)
    try:
        return _run(plan, observer or FinetuneObserver())
    except OSError as error:
        place = error.filename or config.output
        raise SaveError(f"{place} cannot be read or written: {error.strerror or error}") from error


def _run(plan: Plan, observer: FinetuneObserver) -> FinetuneReport | None:
    import torch
    from diffusers import DDPMScheduler

    from toolkit.finetune.cache import CacheFolder
    from toolkit.finetune.datasets import held_out
    from toolkit.finetune.release import release
    from toolkit.finetune.setup import compute_device_of, forget, make_accelerator, make_cache, make_controlnet
    from toolkit.finetune.trainer import Trainer
    from toolkit.finetune.trials import Trials

    config = plan.config
    plan.config.output.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(config)
    main = accelerator.is_main_process
    observer = observer if main else FinetuneObserver()
    busy = f"another training is writing {config.output}; wait for it or stop it"
    try:
        with flushed_denormals(), locked(config.output / ".lock", busy) if main else contextlib.nullcontext():
            if main:
                _write_settings(plan)
                observer.started(plan.datasets, config.max_train_steps)
                for sentence in plan.warnings:
                    observer.warning(sentence)
            backbone = load(plan.spec, plan.parts, compute_device_of(accelerator))
            scheduler = DDPMScheduler.from_config(backbone.scheduler.config)
            chosen = held_out(plan.datasets, config.validation.validation_samples)
            texts = {sample.row["text"] for _, sample in chosen}
            cache, states = make_cache(plan, accelerator, backbone, texts, observer)
            controlnet = make_controlnet(plan, backbone)
            trials = Trials(config, chosen, backbone, scheduler, states) if main else None
            trainer = Trainer(plan, accelerator, backbone, controlnet, cache, states, trials, scheduler, observer)
            with asked_to_stop() as interrupted:
                reason = trainer.run(interrupted)
            if not main:
                return None
            if trainer.stopping.best_step == 0:
                observer.warning(
                    "no step was better than the ControlNet before training, so that one is kept; train longer, with "
                    "another --learning-rate, or on more pairs"
                )
            report = release(plan, trainer, reason)
            if config.cache_dir is None:
                CacheFolder(config, plan.datasets, plan.spec, backbone.compute.torch_dtype).discard()
            return report
    except torch.OutOfMemoryError as error:
        raise ToolkitError(
            f"the memory of {accelerator.device} is too small for this training; use a lower --train-batch-size with a "
            "higher --gradient-accumulation-steps, --gradient-checkpointing, or --mixed-precision bf16"
        ) from error
    finally:
        forget(accelerator)


def _write_settings(plan: Plan) -> None:
    path = plan.config.output / SETTINGS
    temporary = path.with_suffix(".part")
    temporary.write_text(dump_json(plan.document), encoding="utf-8")
    os.replace(temporary, path)
