"""Separate scheduler states for groups of frames, because multistep schedulers remember earlier outputs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


class SchedulerStates:
    """Stores the schedulers' states between steps; on disk, so that memory holds only one.

    Args:
        scheduler: with timesteps set, before its first step. Not changed.
        folder: folder for tensors. If None, they stay in memory, and no other process can `resume`.
    """

    def __init__(self, scheduler: Any, folder: Path | None):
        self._base = copy.copy(scheduler)
        self._base.__dict__ = {name: _shallow(value) for name, value in vars(scheduler).items()}
        self._folder = folder
        self._states: dict[int, dict[str, Any]] = {}
        self._turn = 0

    def of(self, group: int) -> Any:
        """Return a copy of a group's scheduler as of the last `keep`, or before the first step."""
        scheduler = copy.copy(self._base)
        scheduler.__dict__ = {name: _shallow(value) for name, value in vars(self._base).items()}
        state = self._states.get(group)
        if state is None:
            return scheduler
        if self._folder is None:
            tensors = state["tensors"]
        else:
            tensors = load_file(self._folder / state["file"]) if state["file"] else {}
        for name, value in state["values"].items():
            scheduler.__dict__[name] = _unpacked(value, tensors)
        return scheduler

    def keep(self, group: int, scheduler: Any) -> None:
        """Store the state of a group's scheduler after its step."""
        tensors: dict[str, torch.Tensor] = {}
        base = vars(self._base)
        values = {
            name: _packed(value, name, tensors)
            for name, value in vars(scheduler).items()
            if name not in base or not _same(value, base[name])
        }
        if self._folder is None:
            self._states[group] = {"values": values, "tensors": tensors}
            return
        file = f"scheduler-{self._turn % 2}-{group}.safetensors" if tensors else None
        if file:
            save_file(tensors, self._folder / file)
        self._states[group] = {"values": values, "file": file}

    @property
    def last(self) -> int:
        """The last group of each timestep, or 0 before the first."""
        return max(self._states, default=0)

    def turn(self) -> dict[str, Any]:
        """End a timestep. Returns the state to resume from, as JSON values."""
        self._turn += 1
        return {"turn": self._turn, "groups": {str(group): state for group, state in self._states.items()}}

    def resume(self, values: dict[str, Any]) -> None:
        """Resume from a state returned by `turn`."""
        self._turn = values["turn"]
        self._states = {int(group): state for group, state in values["groups"].items()}


def _shallow(value: Any) -> Any:
    """Copy lists, which schedulers change in place; they replace all other values."""
    return list(value) if isinstance(value, list) else value


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, torch.Tensor) or isinstance(other, torch.Tensor):
        return value is other
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(_same(one, two) for one, two in zip(value, other))
    return value is other or (type(value) is type(other) and bool(value == other))


def _packed(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name, "device": str(value.device)}
    if isinstance(value, list):
        return [_packed(one, f"{name}.{k}", tensors) for k, one in enumerate(value)]
    json.dumps(value)  # fail here if a value cannot be saved, and not on resuming
    return value


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        return tensors[value["tensor"]].to(value["device"])
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    return value
