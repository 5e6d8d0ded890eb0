"""Randomness from names: the same sample has the same generator whoever draws it, and when."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*parts: object) -> np.random.Generator:
    """A generator seeded by the text of `parts`, such as a seed, a task, a source digest and a clip index."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def fraction(*parts: object) -> float:
    """A number in 0..1 that only `parts` decide; for splits and orderings."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**64
