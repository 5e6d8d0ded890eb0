"""One scheduler for each group of frames, in the memory of one: multistep schedulers keep what they saw last."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


class SchedulerStates:
    """Keeps on disk what the groups' schedulers remember between steps.

    Args:
        scheduler: with its timesteps set, as it is before the first step; it is not changed.
        folder: where tensors lie.
    """

    def __init__(self, scheduler: Any, folder: Path):
        self._base = copy.copy(scheduler)
        self._base.__dict__ = {name: _shallow(value) for name, value in vars(scheduler).items()}
        self._folder = folder
        self._states: dict[int, dict[str, Any]] = {}
        self._turn = 0

    def of(self, group: int) -> Any:
        """The scheduler of a group: that of the last turn's end, or a fresh one. Changing it changes nothing here."""
        scheduler = copy.copy(self._base)
        scheduler.__dict__ = {name: _shallow(value) for name, value in vars(self._base).items()}
        state = self._states.get(group)
        if state is None:
            return scheduler
        tensors = load_file(self._folder / state["file"]) if state["file"] else {}
        for name, value in state["values"].items():
            scheduler.__dict__[name] = _unpacked(value, tensors)
        return scheduler

    def keep(self, group: int, scheduler: Any) -> None:
        """Take in what a group's scheduler is after its step."""
        tensors: dict[str, torch.Tensor] = {}
        base = vars(self._base)
        values = {
            name: _packed(value, name, tensors)
            for name, value in vars(scheduler).items()
            if name not in base or not _same(value, base[name])
        }
        file = f"scheduler-{self._turn % 2}-{group}.safetensors" if tensors else None
        if file:
            save_file(tensors, self._folder / file)
        self._states[group] = {"values": values, "file": file}

    @property
    def last(self) -> int:
        """The group that is stepped last in each turn; 0 before the first."""
        return max(self._states, default=0)

    def turn(self) -> dict[str, Any]:
        """End a timestep: everything that is needed to go on from here, as JSON values."""
        self._turn += 1
        return {"turn": self._turn, "groups": {str(group): state for group, state in self._states.items()}}

    def resume(self, values: dict[str, Any]) -> None:
        """Go on from what `turn` gave."""
        self._turn = values["turn"]
        self._states = {int(group): state for group, state in values["groups"].items()}


def _shallow(value: Any) -> Any:
    """Schedulers change their lists in place, and replace everything else."""
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
    json.dumps(value)  # a kind of state that cannot be kept fails here, by name, and not at the next start
    return value


def _unpacked(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        return tensors[value["tensor"]].to(value["device"])
    if isinstance(value, list):
        return [_unpacked(one, tensors) for one in value]
    return value
