"""Stores and progress of an edit; on disk, so that a killed run resumes after its last completed timestep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from toolkit.diffusion.frame_store import Frames, FrameStore, MemoryStore
from toolkit.files import read_json, write_json

if TYPE_CHECKING:
    from toolkit.diffusion.scheduler_states import SchedulerStates

_FILE = "progress.json"


class EditProgress:
    """Stores and progress of one clip's edit.

    Args:
        folder: of the edit. If None, everything stays in memory.
        keep: save the progress in the folder and name the stores, so that a later run can resume.
    """

    def __init__(self, folder: Path | None = None, keep: bool = False):
        self.folder, self._file = folder, folder / _FILE if folder and keep else None
        self._values: dict[str, Any] = {}
        if self._file and self._file.is_file():
            self._values = read_json(self._file)

    @property
    def clip(self) -> dict[str, Any] | None:
        """Arguments of the encoded `StoredClip`, or None if it is not complete."""
        description = self._values.get("clip")
        return description and {**description, "dtype": getattr(torch, description["dtype"])}

    @property
    def step(self) -> int:
        """Number of completed timesteps."""
        return self._values.get("step", 0)

    def store(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Frames:
        """Open a store for the clip's frames."""
        if self.folder is None:
            return MemoryStore(shape, dtype)
        return FrameStore(shape, dtype, self.folder, name if self._file else None)

    def encoded(self, clip: dict[str, Any], generator: torch.Generator | None) -> None:
        """Save that the original is completely encoded."""
        self._values["clip"] = {**clip, "dtype": str(clip["dtype"]).removeprefix("torch.")}
        self._write(generator)

    def stepped(self, step: int, states: SchedulerStates, generator: torch.Generator | None) -> None:
        """Save that a timestep is complete for all frames."""
        schedulers = states.turn()
        self._values |= {"step": step, "schedulers": schedulers}
        self._write(generator)

    def restore(self, states: SchedulerStates, generator: torch.Generator | None) -> None:
        """Restore schedulers and generator to their state after the last timestep, or after encoding."""
        if "schedulers" in self._values:
            states.resume(self._values["schedulers"])
        if generator is not None and "generator" in self._values:
            generator.set_state(torch.frombuffer(bytearray.fromhex(self._values["generator"]), dtype=torch.uint8))

    def _write(self, generator: torch.Generator | None) -> None:
        if self._file is None:
            return
        if generator is not None:
            self._values["generator"] = generator.get_state().numpy().tobytes().hex()
        write_json(self._file, self._values, indent=None, durable=True)
