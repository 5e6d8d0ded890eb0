"""Writes and reads checkpoints: folders `checkpoint-N` and `best-N` that are complete or absent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import atomic, differences, dump_json, read_json, sha256_of
from toolkit.finetune.lora import save_trained

CONTROLNET, TRAINING, STATE, SHEET = "controlnet", "training.pt", "state.json", "sheet.jpg"

_NAME = re.compile(r"(checkpoint|best)-(\d+)")


class SaveError(ToolkitError):
    """A checkpoint cannot be written, for example because the disk is full."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose checksums match.

    Attributes:
        state: the `state` that `Checkpoints.save` was given.
    """

    folder: Path
    step: int
    state: dict[str, Any]

    def training(self) -> dict[str, Any]:
        """The states of optimizer, schedule and averages, on the CPU; tensors and plain values only."""
        return torch.load(self.folder / TRAINING, map_location="cpu", weights_only=True)


class Checkpoints:
    """The checkpoints in the folder of a remover."""

    def __init__(self, folder: Path, limit: int):
        self._folder, self._limit = folder, limit

    def steps(self, kind: str = "checkpoint") -> list[int]:
        """The steps that have a folder, in ascending order."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[2]) for name in names if name and name[1] == kind)

    def path(self, kind: str, step: int) -> Path:
        """The folder of a checkpoint."""
        return self._folder / f"{kind}-{step}"

    def save(self, step: int, model: Any, training: dict[str, Any], state: dict[str, Any]) -> Path:
        """Write a checkpoint, then delete those beyond the limit.

        Args:
            model: a ControlNet, written to ``controlnet/`` by `save_trained`.
            training: tensors and plain values.
            state: JSON values; `state["best_step"]` names the ``best-N`` that it needs, if any.

        Raises:
            SaveError: it cannot be written; earlier checkpoints stay.
        """

        def write(folder: Path) -> None:
            save_trained(model, folder / CONTROLNET)
            torch.save(training, folder / TRAINING)
            (folder / STATE).write_text(dump_json({"step": step, "state": state, "files": _sums(folder)}))

        path = self._put("checkpoint", step, write)
        self._prune(state.get("best_step"))
        return path

    def save_best(self, step: int, model: Any, sheet: bytes) -> Path:
        """Keep the weights of a step as the best so far.

        Args:
            sheet: a JPEG with the held-out pairs of its validation.

        Raises:
            SaveError: it cannot be written; earlier checkpoints stay.
        """

        def write(folder: Path) -> None:
            save_trained(model, folder / CONTROLNET)
            (folder / SHEET).write_bytes(sheet)
            (folder / STATE).write_text(dump_json({"step": step, "state": {}, "files": _sums(folder)}))

        return self._put("best", step, write)

    def best(self, step: int) -> Path:
        """The folder of the best weights, with matching checksums.

        Raises:
            InputError: they are damaged or missing.
        """
        self._read("best", step)
        return self.path("best", step)

    def load(self, name: str, document: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        """The checkpoint to resume from, and warnings.

        Args:
            name: the name of a checkpoint, or ``latest`` for the newest undamaged one, or None if there is none.
            document: what the training depends on. It must equal the checkpoint's, in `state["document"]`.

        Raises:
            UsageError: there is no such checkpoint, or it belongs to other settings.
            InputError: the named checkpoint is damaged, or all are.
        """
        if name != "latest":
            named = Path(name)
            inside = named.parent == Path() or named.parent.resolve() == self._folder.resolve()
            match = _NAME.fullmatch(named.name) if inside else None
            if not match or match[1] != "checkpoint" or not self.path("checkpoint", int(match[2])).is_dir():
                known = ", ".join(f"checkpoint-{step}" for step in self.steps()) or "none"
                raise UsageError(f"there is no checkpoint {name!r} in {self._folder}; there are {known}")
            return self._same(self._whole(int(match[2])), document), []
        warnings: list[str] = []
        for step in reversed(self.steps()):
            try:
                return self._same(self._whole(step), document), warnings
            except InputError as error:
                warnings.append(f"{error}; resuming from an earlier one")
        if warnings:
            raise InputError(f"every checkpoint in {self._folder} is damaged; train again with another --output")
        return None, []

    def resume_from(self, step: int, best: int | None) -> None:
        """Delete the checkpoints that a training resumed from `step` will write again, and those beyond the limit.

        Args:
            best: step of the best weights so far.
        """
        for kind in ("checkpoint", "best"):
            for later in self.steps(kind):
                if later > step:
                    shutil.rmtree(self.path(kind, later))
        self._prune(best)  # what a run did not finish to delete

    def _whole(self, step: int) -> Checkpoint:
        """Read a checkpoint, and check the best weights that it needs."""
        checkpoint = self._read("checkpoint", step)
        if checkpoint.state.get("best_step") is not None:
            self._read("best", checkpoint.state["best_step"])
        return checkpoint

    def _read(self, kind: str, step: int) -> Checkpoint:
        folder = self.path(kind, step)
        try:
            document = read_json(folder / STATE)
            state, files = document["state"], document["files"]
            damaged = [name for name, digest in files.items() if sha256_of(folder / name) != digest]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"the checkpoint {folder} is damaged ({error})") from error
        if damaged:
            raise InputError(f"the checkpoint {folder} is damaged: {damaged[0]} has changed since it was written")
        return Checkpoint(folder, step, state)

    def _same(self, checkpoint: Checkpoint, document: dict[str, Any]) -> Checkpoint:
        wanted = json.loads(dump_json(document))
        changed = list(differences(checkpoint.state.get("document"), wanted))
        if changed:
            raise UsageError(
                f"{checkpoint.folder.name} in {self._folder} belongs to another training: {'; '.join(changed)}; "
                "resume with the same settings, or use another --output"
            )
        return checkpoint

    def _put(self, kind: str, step: int, write: Callable[[Path], None]) -> Path:
        path = self.path(kind, step)
        try:
            with atomic(path, durable=True) as staged:
                staged.mkdir()
                write(staged)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise their own
            steps = self.steps()
            good = f"the last good one is checkpoint-{steps[-1]}" if steps else "there is no earlier one"
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise SaveError(
                f"{kind}-{step} cannot be written to {self._folder} ({reason}); {good}. Free some space and "
                "resume with --resume-from-checkpoint latest"
            ) from error
        return path

    def _prune(self, best: int | None) -> None:
        for step in self.steps()[: -self._limit]:
            shutil.rmtree(self.path("checkpoint", step))
        needed = {best}
        for step in self.steps():
            try:
                needed.add(read_json(self.path("checkpoint", step) / STATE)["state"].get("best_step"))
            except (OSError, ValueError, LookupError):
                continue
        for step in self.steps("best"):
            if step not in needed:
                shutil.rmtree(self.path("best", step))


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
