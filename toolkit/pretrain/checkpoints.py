"""Writes and reads the checkpoints of a stage: files that are complete or absent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import atomic, differences
from toolkit.pretrain.recipe import StageRecipe

_NAME = re.compile(r"checkpoint-(\d+)\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: tensors and plain values."""

    step: int
    training: dict[str, Any]


class Checkpoints:
    """The checkpoints of a stage: the two newest, and those at the ends of phases.

    Args:
        folder: created if it does not exist.
        document: what the weights depend on besides the phases, as JSON values.
        stage: has the phases. If only later phases of a recipe differ, training resumes from the end of an earlier one.
    """

    def __init__(self, folder: Path, document: dict[str, Any], stage: StageRecipe):
        self._folder, self._document, self._stage = folder, document, stage
        folder.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in ascending order."""
        return sorted(int(name[1]) for path in self._folder.iterdir() if (name := _NAME.fullmatch(path.name)))

    def advice(self) -> str:
        """What to do after a failure, as the end of an error."""
        steps = self.steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
        return f"{kept}; try a recipe with a lower learning_rate"

    def save(self, step: int, training: dict[str, Any]) -> Path:
        """Write a checkpoint, then delete those that are no longer needed.

        Raises:
            ToolkitError: it cannot be written; earlier checkpoints stay.
        """
        path = self._path(step)
        try:
            with atomic(path, durable=True) as staged, staged.open("wb") as file:
                torch.save({"document": json.dumps(self._document_at(step)), **training}, file)
        except (OSError, RuntimeError) as error:  # torch raises its own
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise ToolkitError(f"the checkpoint {path} cannot be written: {reason}; {self.advice()}") from error
        steps = self.steps()
        for at in steps:
            if at not in steps[-2:] and at not in self._ends():
                self._path(at).unlink()
        return path

    def latest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest undamaged checkpoint that belongs to the recipe, and warnings.

        Raises:
            UsageError: all checkpoints belong to other settings.
        """
        warnings: list[str] = []
        changed: list[str] = []
        for step in reversed(self.steps()):
            path = self._path(step)
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                document = json.loads(saved.pop("document"))
            except Exception as error:  # damaged files raise almost anything
                warnings.append(f"the checkpoint {path} is damaged ({error}); resuming from an earlier one")
                continue
            if step > self._stage.steps:
                continue
            changed = list(differences(document, json.loads(json.dumps(self._document_at(step)))))
            if not changed:
                return Checkpoint(step, saved), warnings
        if changed:
            raise UsageError(
                f"{self._folder} belongs to another training: {'; '.join(changed)}; resume with the same settings, or "
                "use another --output"
            )
        return None, warnings

    def _path(self, step: int) -> Path:
        return self._folder / f"checkpoint-{step}.pt"

    def _ends(self) -> list[int]:
        return list(accumulate(phase.steps for phase in self._stage.phases))

    def _document_at(self, step: int) -> dict[str, Any]:
        """What a checkpoint depends on, which includes the phases up to its own.

        The length of its own phase counts only if the learning rate falls at its end. Other phases can be made longer
        or shorter.
        """
        number = next((k for k, end in enumerate(self._ends()) if step <= end), len(self._ends()) - 1)
        phases = {str(k): phase.model_dump(mode="json") for k, phase in enumerate(self._stage.phases[: number + 1])}
        if not self._stage.phases[number].lr_decay:
            del phases[str(number)]["steps"]
        return {**self._document, "phases": phases}
