"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, unit: str) -> str:
    """A number with its unit, such as "1 clip" or "3 clips"; `unit` is the plural, which ends in s."""
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"
