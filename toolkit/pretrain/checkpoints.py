"""Where a pretraining can go on: files that appear whole, or not at all."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.errors import ToolkitError, UsageError
from toolkit.folders import differences

_NAME = re.compile(r"checkpoint-(\d+)\.pt")


@dataclass(frozen=True)
class Checkpoint:
    """One that was read: tensors and plain values."""

    step: int
    training: dict[str, Any]


class Checkpoints:
    """The checkpoints of a stage: the newest, and the newest before the learning rate falls.

    Args:
        folder: made where it is missing.
        document: what the course of the training depends on, as JSON values.
    """

    def __init__(self, folder: Path, document: dict[str, Any]):
        self._folder, self._document = folder, json.loads(json.dumps(document))
        folder.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """Steps of which there is one, ascending."""
        return sorted(int(name[1]) for path in self._folder.iterdir() if (name := _NAME.fullmatch(path.name)))

    def advice(self) -> str:
        """What to do after a failure."""
        steps = self.steps()
        kept = f"the last good checkpoint is that of step {steps[-1]}" if steps else "there is no checkpoint yet"
        return f"{kept}; try a recipe with a lower learning_rate"

    def save(self, step: int, training: dict[str, Any], constant: int) -> Path:
        """Write one, then remove those that nobody needs.

        Args:
            constant: step at which the learning rate begins to fall.

        Raises:
            ToolkitError: it cannot be written; what was there before stays.
        """
        path = self._folder / f"checkpoint-{step}.pt"
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as file:
                torch.save({"document": json.dumps(self._document), "constant": constant, **training}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # torch has errors of its own
            temporary.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise ToolkitError(f"the checkpoint {path} cannot be written: {reason}; {self.advice()}") from error
        kept = {step, max((at for at in self.steps() if at <= constant), default=step)}
        for at in self.steps():
            if at not in kept:
                (self._folder / f"checkpoint-{at}.pt").unlink()
        return path

    def latest(self, last: int, constant: int) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole one on the way to the step `last`, and warnings.

        Raises:
            UsageError: it belongs to other settings.
        """
        warnings = []
        for step in reversed(self.steps()):
            path = self._folder / f"checkpoint-{step}.pt"
            try:
                saved = torch.load(path, map_location="cpu", weights_only=True)
                document, fell = json.loads(saved.pop("document")), saved.pop("constant")
            except Exception as error:  # damaged files raise almost anything
                warnings.append(f"the checkpoint {path} is damaged ({error}); going on from an earlier one")
                continue
            if changed := list(differences(document, self._document)):
                raise UsageError(
                    f"{path} belongs to another training: {'; '.join(changed)}; use the same settings to go on, or "
                    "name another --output"
                )
            # A rate that has begun to fall towards another end has to be gone back on.
            if step <= min(fell, constant) or (fell == constant and step <= last):
                return Checkpoint(step, saved), warnings
        return None, warnings
