"""Names of the files that an edit writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import UsageError

SUFFIXES = {False: (".mp4", ".mov", ".mkv"), True: (".mkv", ".mp4")}
"""Suffixes that results keep, without and with `lossless`; a video with another one gets the first."""


def report_name(target: Path) -> Path:
    """``face.mp4`` has its report in ``face.mp4.json``."""
    return target.with_name(f"{target.name}.json")


def comparison_name(target: Path) -> Path:
    """``face.mp4`` has its comparison in ``face.compare.mp4``."""
    return target.with_name(f"{target.stem}.compare{target.suffix}")


def preview_name(target: Path) -> Path:
    """``face.mp4`` becomes ``face.preview.mp4``."""
    return target.with_name(f"{target.stem}.preview{target.suffix}")


def result_name(name: str, lossless: bool) -> Path:
    """Name of a video's result: the same, in a container that can hold it."""
    suffix = Path(name).suffix.lower()
    return Path(name).with_suffix(suffix if suffix in SUFFIXES[lossless] else SUFFIXES[lossless][0])


def result_names(names: Sequence[str], lossless: bool) -> list[Path]:
    """Names of several videos' results.

    Raises:
        UsageError: two of them would have the same name.
    """
    taken: dict[Path, str] = {}
    for name in names:
        result = result_name(name, lossless)
        if result in taken:
            raise UsageError(f"{taken[result]} and {name} would both become {result}; rename one of them")
        taken[result] = name
    return list(taken)
