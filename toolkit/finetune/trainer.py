"""The training loop, with checkpoints and with trials that decide when to stop."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any

import torch

from toolkit.errors import ToolkitError
from toolkit.finetune.checkpoints import Checkpoints
from toolkit.finetune.early_stopping import EarlyStopping
from toolkit.finetune.journal import Journal, as_jpeg
from toolkit.finetune.lora import trained_parameters
from toolkit.finetune.loss import losses, predict, target
from toolkit.finetune.plan import Plan
from toolkit.finetune.report import FinetuneObserver
from toolkit.finetune.setup import Setup, make_lr_scheduler, make_optimizer
from toolkit.finetune.stream import PairStream, batches, following, to_batch
from toolkit.finetune.trials import Trials


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; a checkpoint was written."""


class Trainer:
    """The state that changes during a training.

    Args:
        trials: None in every process but the first.

    Attributes:
        controlnet: the model in training.
        stopping: the validations so far.
        figures: measures of each validation, by step.
        step: steps that are done.
    """

    def __init__(
        self, plan: Plan, accelerator: Any, setup: Setup, trials: Trials | None, observer: FinetuneObserver
    ) -> None:
        self._plan, self._config, self._accelerator, self._observer = plan, plan.config, accelerator, observer
        self._trials, self._states, self._scheduler = trials, setup.states, setup.scheduler
        self._backbone, controlnet = setup.backbone, setup.controlnet
        backbone = setup.backbone
        timesteps = plan.spec.training_timesteps or range(setup.scheduler.config.num_train_timesteps)
        self._stream = PairStream(setup.cache, plan.config, timesteps)
        settings = plan.config.optimisation
        if settings.gradient_checkpointing:
            controlnet.enable_gradient_checkpointing()
            backbone.unet.enable_gradient_checkpointing()
        optimizer = make_optimizer(plan.config, controlnet)
        self._lr_scheduler = make_lr_scheduler(plan.config, optimizer)
        self._ema = _ema(plan.config, controlnet)
        if settings.torch_compile:
            controlnet.compile()
            backbone.unet.compile()
        self.controlnet = controlnet
        self._model, self._optimizer = accelerator.prepare(controlnet, optimizer)
        self._checkpoints = Checkpoints(plan.config.output, plan.config.checkpoints_total_limit)
        self._journal = Journal(plan.config.output, accelerator, plan.document)
        options = plan.config.validation
        self.stopping = EarlyStopping(options.patience, options.min_delta, options.artefact_weight)
        self.figures: dict[int, dict[str, float]] = {}
        self.step = 0
        if plan.checkpoint is not None:
            self._restore(plan.checkpoint)
        else:
            self._journal.rewind(-1)  # drop the lines of a start that ended before its first checkpoint

    def _restore(self, checkpoint: Any) -> None:
        saved, state = checkpoint.training(), checkpoint.state
        self._optimizer.load_state_dict(saved["optimizer"])
        self._lr_scheduler.load_state_dict(saved["lr_scheduler"])
        if self._ema is not None:
            self._ema.load_state_dict(saved["ema"])
            self._ema.to(self._accelerator.device)
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(saved["scaler"])
        self.step = checkpoint.step
        self.stopping = EarlyStopping.from_state(state["stopping"], self.stopping.patience)
        self.figures = {int(step): figures for step, figures in state["figures"].items()}
        if self._accelerator.is_main_process:
            self._checkpoints.resume_from(self.step, self.stopping.best_step)
        self._journal.rewind(self.step)
        self._observer.note(f"resuming from step {self.step}")

    def run(self, interrupted: Any) -> str:
        """Train until it is time to stop, and return the reason.

        Args:
            interrupted: becomes true when the user asks to stop; tested after every step.

        Raises:
            Interrupted: a checkpoint was written, from which training can resume.
            ToolkitError: the loss or the gradient is not finite; the last good checkpoint is kept.
            SaveError: a checkpoint cannot be written.
        """
        config, last = self._config, self._config.max_train_steps
        saved = self.step
        if self.step == 0:
            self._validate()
        self._observer.phase("training", last, "steps", self.step)
        with self._loader() as loader:
            while self.step < last and not self._at_the_knee():
                rate = self._lr_scheduler.get_last_lr()[0]
                loss = self._train_step(loader)
                self.step += 1
                self._observer.advance(self.step, loss=loss, learning_rate=rate)
                self._journal.step(self.step, loss, rate)
                validated = self.step % config.validation.validation_steps == 0 or self.step == last
                if validated:
                    self._validate()
                stop = self._of_the_first(bool(interrupted))
                if stop or self.step % config.checkpointing_steps == 0 or self.step == last:
                    self._save()
                    saved = self.step
                if stop:
                    raise Interrupted(f"stopped at step {self.step}; resume with --resume-from-checkpoint latest")
        if saved != self.step:
            self._save()
        at_the_knee = self._at_the_knee()
        self._journal.close()
        if at_the_knee:
            return self.stopping.reason
        return f"reached max_train_steps, {last}; {self.stopping.reason}"

    def _at_the_knee(self) -> bool:
        """Whether to stop. Only the first process validates."""
        return self._of_the_first(self._config.validation.early_stopping and self.stopping.stop)

    def _of_the_first(self, answer: bool) -> bool:
        """The first process's answer in every process, so that they end after the same step."""
        if self._accelerator.num_processes == 1:
            return answer
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([answer])[0]

    @contextlib.contextmanager
    def _loader(self) -> Iterator[Iterator[dict[str, Any]]]:
        accelerator, workers = self._accelerator, self._config.dataloader_num_workers
        on_gpu = accelerator.device.type == "cuda"
        loader = batches(
            self._stream,
            self._config,
            self.step,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            workers=(4 if on_gpu else 0) if workers is None else workers,
            pin=on_gpu,
        )
        yield iter(loader)

    def _train_step(self, loader: Iterator[dict[str, Any]]) -> float:
        """Run one step of the optimizer, and return its loss, averaged over all pairs and processes."""
        accelerator, config = self._accelerator, self._config
        total = 0.0
        for micro in range(config.optimisation.gradient_accumulation_steps):
            batch = to_batch(following(loader), self._states, self._backbone, accelerator.device)
            with accelerator.accumulate(self._model):
                predicted = predict(
                    self._model, self._backbone.unet, self._scheduler, batch, self._backbone.compute.torch_dtype
                )
                found = losses(predicted, target(self._scheduler, batch), batch, self._scheduler, config.loss)
                gathered = accelerator.gather(found.detach()).cpu()
                if not torch.isfinite(gathered).all():
                    self._refuse_loss(gathered, micro)
                total += float(gathered.mean())
                accelerator.backward(found.mean())
                if accelerator.sync_gradients:
                    norm = accelerator.clip_grad_norm_(
                        trained_parameters(self._model), config.optimisation.max_grad_norm
                    )
                    if accelerator.scaler is None and not math.isfinite(norm):
                        raise ToolkitError(
                            f"the gradient of step {self.step + 1} is not finite though its loss is; {self._advice()}"
                        )
                self._optimizer.step()
                self._optimizer.zero_grad(set_to_none=True)
        self._lr_scheduler.step()
        if self._ema is not None:
            self._ema.step(trained_parameters(self.controlnet))
        return total / config.optimisation.gradient_accumulation_steps

    def _refuse_loss(self, gathered: torch.Tensor, micro: int) -> None:
        index = int((~torch.isfinite(gathered)).nonzero()[0])
        first = (self.step * self._config.optimisation.gradient_accumulation_steps + micro) * len(gathered)
        raise ToolkitError(
            f"the loss of step {self.step + 1} is {float(gathered[index])} for {self._stream.describe(first + index)}; "
            + self._advice()
        )

    def _advice(self) -> str:
        steps = self._checkpoints.steps()
        kept = f"the last good checkpoint is checkpoint-{steps[-1]}" if steps else "there is no checkpoint yet"
        return f"{kept}; try a lower --learning-rate or another --mixed-precision"

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[Any]:
        """The ControlNet with the moving average of its weights, if there is one."""
        if self._ema is None:
            yield self.controlnet
            return
        self._ema.store(trained_parameters(self.controlnet))
        self._ema.copy_to(trained_parameters(self.controlnet))
        try:
            yield self.controlnet
        finally:
            self._ema.restore(trained_parameters(self.controlnet))

    def _validate(self) -> None:
        """Try the remover. A trial off the schedule, as at the last step, does not use up patience."""
        if self._trials is not None:
            self._require_finite()
            with self._averaged() as controlnet:
                trial = self._trials.run(controlnet)
                figures = trial.measures.figures() | ({"loss": trial.loss} if math.isfinite(trial.loss) else {})
                scheduled = self.step % self._config.validation.validation_steps == 0
                removal, artefact = trial.measures.removal, trial.measures.artefact
                best = self.stopping.update(self.step, removal, artefact, counted=scheduled)
                self.figures[self.step] = figures
                sheet = self._trials.grid(trial, f"step {self.step}")
                if best:
                    self._checkpoints.save_best(self.step, controlnet, as_jpeg(sheet))
            path = self._journal.validation(self.step, figures, sheet)
            self._observer.validated(self.step, figures, path, best)
        self._accelerator.wait_for_everyone()

    def _require_finite(self) -> None:
        """
        Raises:
            ToolkitError: a weight is not finite, so the weights must not be saved.
        """
        if not all(torch.isfinite(parameter).all() for parameter in trained_parameters(self.controlnet)):
            raise ToolkitError(f"weights are not finite after step {self.step}; {self._advice()}")

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            self._require_finite()
            training = {
                "optimizer": self._optimizer.state_dict(),
                "lr_scheduler": self._lr_scheduler.state_dict(),
                "ema": None if self._ema is None else self._ema.state_dict(),
                "scaler": None if self._accelerator.scaler is None else self._accelerator.scaler.state_dict(),
            }
            state = {
                "document": json.loads(json.dumps(self._plan.document)),
                "stopping": self.stopping.state(),
                "figures": self.figures,
                "best_step": self.stopping.best_step,
            }
            self._journal.sync()
            self._observer.saved(self._checkpoints.save(self.step, self.controlnet, training, state))
        self._accelerator.wait_for_everyone()


def _ema(config: Any, controlnet: Any) -> Any:
    if not config.loss.use_ema:
        return None
    from diffusers.training_utils import EMAModel

    # The warm-up keeps the first weights from dominating the average.
    return EMAModel(trained_parameters(controlnet), decay=config.loss.ema_decay, use_ema_warmup=True, power=3 / 4)
