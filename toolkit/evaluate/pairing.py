"""Which edited video belongs to which original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from toolkit.errors import InputError
from toolkit.video.finding import VIDEO_EXTENSIONS, find_videos


@dataclass(frozen=True)
class VideoSet:
    """One original and what methods made of it.

    Attributes:
        name: of the original, below its folder.
        edited: method -> video; a sentence where there is none.
        target: the true video without the attribute, or None.
    """

    name: str
    original: Path
    edited: dict[str, Path | str] = field(default_factory=dict)
    target: Path | None = None


def pair_videos(original: Path, methods: Mapping[str, Path], target: Path | None = None) -> list[VideoSet]:
    """Match by the path below the folder without its ending; containers may differ.

    Raises:
        InputError: an original, a method's folder or the target is not there, or holds no video.
    """
    originals = find_videos([original])
    alone = original.is_file()
    found = {method: _index(path, f"the edited videos of {method}") for method, path in methods.items()}
    targets = None if target is None else _index(target, "the targets")
    sets = []
    for path, name in originals:
        key = _key(name)
        edited: dict[str, Path | str] = {}
        for method, index in found.items():
            edited[method] = _of(index, key, alone) or f"there is no counterpart of {name} in {methods[method]}"
        sets.append(VideoSet(name, path, edited, None if targets is None else _of(targets, key, alone)))
    return sets


def _index(path: Path, what: str) -> Path | dict[str, Path]:
    """The one video, or the videos of a folder by their key."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"expected {what} at {path}, found nothing; check the path")
    return {_key(name): file for file, name in find_videos([path])}


def _of(index: Path | dict[str, Path], key: str, alone: bool) -> Path | None:
    if isinstance(index, Path):
        return index if alone else None
    if alone and len(index) == 1:
        return next(iter(index.values()))
    return index.get(key)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_EXTENSIONS else name
