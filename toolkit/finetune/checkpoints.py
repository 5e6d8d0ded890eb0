"""Checkpoints of a training: folders `checkpoint-N` and `best-N` that appear whole, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from toolkit.dataset.layout import dump_json
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.files import differences

CONTROLNET, TRAINING, STATE, SHEET = "controlnet", "training.pt", "state.json", "sheet.jpg"

_NAME = re.compile(r"(checkpoint|best)-(\d+)")


class SaveError(ToolkitError):
    """A checkpoint cannot be written, as on a full disk."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole.

    Attributes:
        state: what `Checkpoints.save` was given as `state`.
    """

    folder: Path
    step: int
    state: dict[str, Any]

    def training(self) -> dict[str, Any]:
        """States of optimizer and the like, on the CPU; tensors and plain values only."""
        return torch.load(self.folder / TRAINING, map_location="cpu", weights_only=True)


class Checkpoints:
    """The checkpoints in the folder of a remover."""

    def __init__(self, folder: Path, limit: int):
        self._folder, self._limit = folder, limit

    def steps(self, kind: str = "checkpoint") -> list[int]:
        """Steps of which there is a folder, ascending."""
        if not self._folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self._folder.iterdir())
        return sorted(int(name[2]) for name in names if name and name[1] == kind)

    def path(self, kind: str, step: int) -> Path:
        """Where a checkpoint lies."""
        return self._folder / f"{kind}-{step}"

    def save(self, step: int, model: Any, training: dict[str, Any], state: dict[str, Any]) -> Path:
        """Write a checkpoint, then remove those beyond the limit.

        Args:
            model: a diffusers model; lies in `controlnet/`, for `from_pretrained`.
            training: tensors and plain values.
            state: JSON values; `state["best_step"]` names the `best-N` that it needs, if any.

        Raises:
            SaveError: it cannot be written; what was there before stays.
        """

        def write(folder: Path) -> None:
            model.save_pretrained(folder / CONTROLNET)
            torch.save(training, folder / TRAINING)
            (folder / STATE).write_text(dump_json({"step": step, "state": state, "files": _sums(folder)}))

        path = self._put("checkpoint", step, write)
        self._prune(state.get("best_step"))
        return path

    def save_best(self, step: int, model: Any, sheet: bytes) -> Path:
        """Keep the weights of a step as the best so far, with the sheet of its trial, a JPEG.

        Raises:
            SaveError: as `save`.
        """

        def write(folder: Path) -> None:
            model.save_pretrained(folder / CONTROLNET)
            (folder / SHEET).write_bytes(sheet)
            (folder / STATE).write_text(dump_json({"step": step, "state": {}, "files": _sums(folder)}))

        return self._put("best", step, write)

    def best(self, step: int) -> Path:
        """The folder of the best weights, found whole.

        Raises:
            InputError: they are damaged or gone.
        """
        self._read("best", step)
        return self.path("best", step)

    def load(self, name: str, document: dict[str, Any]) -> tuple[Checkpoint | None, list[str]]:
        """The checkpoint to go on from, and warnings.

        Args:
            name: ``latest``, or the name of a checkpoint. The latest is the newest one that is whole; None if there
                is none.
            document: what the training depends on; equal to that of the checkpoint, in `state["document"]`.

        Raises:
            UsageError: there is no such checkpoint, or it belongs to other settings.
            InputError: the named one is damaged, or all are.
        """
        if name != "latest":
            named = Path(name)
            here = named.parent == Path() or named.parent.resolve() == self._folder.resolve()
            match = _NAME.fullmatch(named.name) if here else None
            if not match or match[1] != "checkpoint" or not self.path("checkpoint", int(match[2])).is_dir():
                have = ", ".join(f"checkpoint-{step}" for step in self.steps()) or "none"
                raise UsageError(f"there is no checkpoint {name!r} in {self._folder}; there are {have}")
            return self._same(self._whole(int(match[2])), document), []
        warnings = []
        for step in reversed(self.steps()):
            try:
                return self._same(self._whole(step), document), warnings
            except InputError as error:
                warnings.append(f"{error}; going on from an earlier one")
        if warnings:
            raise InputError(f"no checkpoint in {self._folder} is whole; name another --output and train again")
        return None, []

    def forget_after(self, step: int) -> None:
        """Remove what a training that goes on from `step` will make again."""
        for kind in ("checkpoint", "best"):
            for later in self.steps(kind):
                if later > step:
                    shutil.rmtree(self.path(kind, later))

    def _whole(self, step: int) -> Checkpoint:
        """A checkpoint and the best weights that it needs."""
        checkpoint = self._read("checkpoint", step)
        if checkpoint.state.get("best_step") is not None:
            self._read("best", checkpoint.state["best_step"])
        return checkpoint

    def _read(self, kind: str, step: int) -> Checkpoint:
        folder = self.path(kind, step)
        try:
            document = json.loads((folder / STATE).read_text())
            state, files = document["state"], document["files"]
            damaged = [name for name, digest in files.items() if _sha256(folder / name) != digest]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"the checkpoint {folder} is damaged ({error})") from error
        if damaged:
            raise InputError(f"the checkpoint {folder} is damaged: {damaged[0]} is not what was written")
        return Checkpoint(folder, step, state)

    def _same(self, checkpoint: Checkpoint, document: dict[str, Any]) -> Checkpoint:
        wanted = json.loads(dump_json(document))
        changed = list(differences(checkpoint.state.get("document"), wanted))
        if changed:
            raise UsageError(
                f"{checkpoint.folder.name} in {self._folder} belongs to another training: {'; '.join(changed)}; use "
                "the same settings to go on, or name another --output"
            )
        return checkpoint

    def _put(self, kind: str, step: int, write: Callable[[Path], None]) -> Path:
        final, temporary = self.path(kind, step), self._folder / f".{kind}-{step}.part"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            write(temporary)
            _sync(temporary)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have errors of their own
            shutil.rmtree(temporary, ignore_errors=True)
            have = self.steps()
            good = f"the last good one is checkpoint-{have[-1]}" if have else "there is none before it"
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise SaveError(
                f"{kind}-{step} cannot be written to {self._folder} ({reason}); {good}: free some space and go on with "
                "--resume-from-checkpoint latest"
            ) from error
        return final

    def _prune(self, best: int | None) -> None:
        for step in self.steps()[: -self._limit]:
            shutil.rmtree(self.path("checkpoint", step))
        needed = {best}
        for step in self.steps():
            try:
                needed.add(json.loads((self.path("checkpoint", step) / STATE).read_text())["state"].get("best_step"))
            except (OSError, ValueError, LookupError):
                continue
        for step in self.steps("best"):
            if step not in needed:
                shutil.rmtree(self.path("best", step))


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    """Have the files on the disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
