"""Random generators seeded by names, independent of the order and process in which samples are drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(*parts: object) -> np.random.Generator:
    """Return a generator seeded by the text of `parts`, such as a seed, a task, a source digest and a clip index."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def fraction(*parts: object) -> float:
    """Return a number in 0..1 that depends on `parts` only, for splits and orderings."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**64
