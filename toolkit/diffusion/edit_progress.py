"""How far the editing of a clip has come, on disk: a killed run goes on after the last timestep that it finished."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from toolkit.diffusion.frame_store import FrameStore

if TYPE_CHECKING:
    from toolkit.diffusion.scheduler_states import SchedulerStates

_FILE = "progress.json"


class EditProgress:
    """What a run has in its folder.

    Args:
        folder: of this clip's edit.
        keep: whether stores have names, so that another run finds them.

    Attributes:
        clip: what describes the encoded original; None while it is not whole.
        step: timesteps that are finished.
    """

    def __init__(self, folder: Path, keep: bool):
        self.folder, self._keep = folder, keep
        self._values: dict[str, Any] = {}
        if keep and (folder / _FILE).is_file():
            self._values = json.loads((folder / _FILE).read_text())

    @property
    def clip(self) -> dict[str, Any] | None:
        description = self._values.get("clip")
        return description and {**description, "dtype": getattr(torch, description["dtype"])}

    @property
    def step(self) -> int:
        return self._values.get("step", 0)

    def store(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> FrameStore:
        """A store of the clip's frames."""
        return FrameStore(shape, dtype, self.folder, name if self._keep else None)

    def encoded(self, clip: dict[str, Any], generator: torch.Generator | None) -> None:
        """The original is in its stores."""
        self._values["clip"] = {**clip, "dtype": str(clip["dtype"]).removeprefix("torch.")}
        self._write(generator)

    def stepped(self, step: int, states: SchedulerStates, generator: torch.Generator | None) -> None:
        """A timestep is finished for all frames."""
        schedulers = states.turn()
        self._values |= {"step": step, "schedulers": schedulers}
        self._write(generator)

    def restore(self, states: SchedulerStates, generator: torch.Generator | None) -> None:
        """Put schedulers and generator where the last timestep, or the encoding, left them."""
        if "schedulers" in self._values:
            states.resume(self._values["schedulers"])
        if generator is not None and "generator" in self._values:
            generator.set_state(torch.frombuffer(bytearray.fromhex(self._values["generator"]), dtype=torch.uint8))

    def _write(self, generator: torch.Generator | None) -> None:
        if not self._keep:
            return
        if generator is not None:
            self._values["generator"] = generator.get_state().numpy().tobytes().hex()
        temporary = self.folder / f"{_FILE}.part"
        temporary.write_text(json.dumps(self._values))
        os.replace(temporary, self.folder / _FILE)
