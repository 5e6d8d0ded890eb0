"""The parts of the campaign, and how many trials each group of a part has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.campaign import faults, kills, mutations


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes:
        run: takes inputs, a folder, the number of trials, the seed, counts so far, and a part of the groups' names.
        count: trials of each group in the whole campaign.
    """

    run: Callable[..., Iterator[dict[str, Any]]]
    count: int


PARTS = {
    "kills": Part(kills.campaign, 100),
    "mutations": Part(mutations.campaign, 2000),
    "faults": Part(faults.campaign, 40),
}
