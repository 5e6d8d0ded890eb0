"""``finetune``: trains a remover from datasets of pairs."""

from __future__ import annotations

import contextlib

from toolkit.backbones import load
from toolkit.device import flushed_denormals, tensor_float_32
from toolkit.errors import ToolkitError
from toolkit.files import dump_json, locked, write_text
from toolkit.finetune.checkpoints import SaveError
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.plan import FROZEN, SETTINGS, Plan, make_plan
from toolkit.finetune.report import FinetuneObserver, FinetuneReport
from toolkit.interruption import stop_requests


def finetune(config: FinetuneConfig, observer: FinetuneObserver | None = None) -> FinetuneReport | None:
    """Train a ControlNet that maps frames with the attribute to frames without it (V-LASIK, section 2).

    The ControlNet's hint is the `conditioning_image`, the target is the `image`. Training ends when trials on held-out
    sources show that artefacts grow faster than removal, or after `max_train_steps`. The same config and data give the
    same weights, even if the training was interrupted and resumed.

    Args:
        config: settings of the training.
        observer: receives progress.

    Returns:
        The result; None in every process but the first if `accelerate launch` started several.

    Raises:
        UsageError: settings, datasets, backbone and output do not fit together.
        InputError: a dataset, a picture, weights or a checkpoint are damaged.
        MissingExtra: a package or weights must be installed or fetched first.
        ToolkitError: the loss is not finite, the disk is full, or memory ran out; the last good checkpoint is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM. If training had started, a checkpoint was written.
    """
    plan = make_plan(config)
    try:
        return _run(plan, observer or FinetuneObserver())
    except OSError as error:
        path = error.filename or config.output
        raise SaveError(f"{path} cannot be read or written: {error.strerror or error}") from error


def _run(plan: Plan, observer: FinetuneObserver) -> FinetuneReport | None:
    import torch

    from toolkit.finetune.cache import CacheFolder
    from toolkit.finetune.datasets import held_out
    from toolkit.finetune.release import release
    from toolkit.finetune.setup import advice_for, compute_device_of, forget, make_accelerator, make_setup
    from toolkit.finetune.trainer import Trainer
    from toolkit.finetune.trials import Trials

    config = plan.config
    config.output.mkdir(parents=True, exist_ok=True)
    accelerator = make_accelerator(config)
    main = accelerator.is_main_process
    observer = observer if main else FinetuneObserver()
    busy = f"another training is writing to {config.output}; wait until it ends, or stop it"
    try:
        with contextlib.ExitStack() as held:
            held.enter_context(flushed_denormals())
            if main:
                held.enter_context(locked(config.output / ".lock", busy))
                write_text(config.output / SETTINGS, dump_json(plan.document), durable=True)
                _introduce(plan, observer)
            held.enter_context(tensor_float_32(str(accelerator.device)))
            backbone = load(plan.spec, FROZEN, compute_device_of(accelerator))
            if main and accelerator.device.type == "cuda" and (advice := advice_for(plan, backbone)):
                observer.warning(advice)
            chosen = held_out(plan.datasets, config.validation.validation_samples)
            setup = make_setup(plan, accelerator, backbone, {sample.row["text"] for _, sample in chosen}, observer)
            trials = Trials(config, chosen, backbone, setup.scheduler, setup.states) if main else None
            trainer = Trainer(plan, accelerator, setup, trials, observer)
            with stop_requests() as interrupted:
                reason = trainer.run(interrupted)
            if not main:
                return None
            if trainer.stopping.best_step == 0:
                observer.warning(
                    "no step was better than the ControlNet before training, so that one was kept; train longer, with "
                    "another --learning-rate, or on more pairs"
                )
            report = release(plan, trainer, reason)
            if config.cache_dir is None:
                CacheFolder(config, plan.datasets, plan.spec, backbone.compute.torch_dtype).discard()
            return report
    except torch.OutOfMemoryError as error:
        raise ToolkitError(
            f"{accelerator.device} has too little memory for this training; use a lower --train-batch-size with a "
            "higher --gradient-accumulation-steps, --gradient-checkpointing, or --mixed-precision bf16"
        ) from error
    finally:
        forget(accelerator)


def _introduce(plan: Plan, observer: FinetuneObserver) -> None:
    for dataset in plan.datasets:
        observer.note(
            f"{dataset.root}: {dataset.manifest.task}, {dataset.count('train')} training pairs and "
            f"{dataset.count('validation')} held out, {'perfect' if dataset.perfect else 'imperfect'}"
        )
    for sentence in plan.warnings:
        observer.warning(sentence)
    observer.phase("loading", None, "models")
