"""The parts of the campaign, and how many trials each group of a part has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.campaign import faults, kills, memory, mutations, power


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        run: takes inputs, a folder, the number of trials, the seed, counts so far, and a part of the groups' names.
        count: trials of each group in the whole campaign; `mutations` shares them among its groups.
        few: the trials and the group of ``--few``.
    """

    run: Callable[..., Iterator[dict[str, Any]]]
    count: int
    few: tuple[int, str]


PARTS = {
    "kills": Part(kills.campaign, 100, (1, "edit")),
    "power": Part(power.campaign, 100, (1, "edit a folder")),
    "mutations": Part(mutations.campaign, 2000, (9, "")),
    "faults": Part(faults.campaign, 40, (1, "a link where")),
    "memory": Part(memory.campaign, 500, (10, "videos of one session")),
}
