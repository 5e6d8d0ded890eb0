"""Progress of an edit on disk, so that a killed run resumes after its last completed timestep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from toolkit.diffusion.frame_store import FrameStore
from toolkit.files import read_json, write_json

if TYPE_CHECKING:
    from toolkit.diffusion.scheduler_states import SchedulerStates

_FILE = "progress.json"


class EditProgress:
    """Stores and progress of one clip's edit.

    Args:
        folder: of the edit.
        keep: save the progress and name the stores, so that a later run can resume.
    """

    def __init__(self, folder: Path, keep: bool):
        self.folder, self._keep = folder, keep
        self._values: dict[str, Any] = {}
        if keep and (folder / _FILE).is_file():
            self._values = read_json(folder / _FILE)

    @property
    def clip(self) -> dict[str, Any] | None:
        """Arguments of the encoded `StoredClip`, or None if it is not complete."""
        description = self._values.get("clip")
        return description and {**description, "dtype": getattr(torch, description["dtype"])}

    @property
    def step(self) -> int:
        """Number of completed timesteps."""
        return self._values.get("step", 0)

    def store(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> FrameStore:
        """Open a store for the clip's frames."""
        return FrameStore(shape, dtype, self.folder, name if self._keep else None)

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
        if not self._keep:
            return
        if generator is not None:
            self._values["generator"] = generator.get_state().numpy().tobytes().hex()
        write_json(self.folder / _FILE, self._values, indent=None, durable=True)
