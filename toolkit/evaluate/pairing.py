"""Finds the edited video and the target that belong to each original."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from toolkit.errors import InputError, UsageError
from toolkit.video.finding import VIDEO_EXTENSIONS, find_videos


@dataclass(frozen=True)
class VideoSet:
    """One original and its edits.

    Attributes:
        name: of the original, relative to its folder.
        edited: method -> video, or the reason why there is none.
        target: the true video without the attribute, or None.
        no_target: why the original has no target although targets were named; empty otherwise.
    """

    name: str
    original: Path
    edited: dict[str, Path | str] = field(default_factory=dict)
    target: Path | None = None
    no_target: str = ""


def pair_videos(
    original: Path,
    methods: Mapping[str, Path],
    target: Path | None = None,
    failed: Mapping[str, Mapping[str, str]] | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[VideoSet]:
    """Match videos by their path below the folder, or else by the path without its extension if that is unique.

    Two single videos belong together whatever their names, and so do a single video and the only one in a folder.

    Args:
        original: a video or a folder of videos.
        methods: method -> a video or a folder of videos.
        target: a video or a folder of videos.
        failed: method -> original's name -> reason: videos that could not be made. The method's folder may be empty.
        tell: called with a sentence about files beside the originals that are no videos.

    Raises:
        UsageError: a path does not exist, or a single video is named for several originals.
        InputError: a folder cannot be read, or holds no video.
    """
    originals = _videos(original, "the originals", tell=tell)
    keys, alone = [_key(name) for name in originals], original.is_file()
    failed = failed or {}
    found = {
        method: _Counterparts(path, f"the edited videos of {method}", keys, alone, bool(failed.get(method)))
        for method, path in methods.items()
    }
    targets = None if target is None else _Counterparts(target, "the targets", keys, alone)
    sets = []
    for name, path in originals.items():
        edited: dict[str, Path | str] = {
            method: failed.get(method, {}).get(name) or counterparts.of(name) for method, counterparts in found.items()
        }
        found_target = None if targets is None else targets.of(name)
        if isinstance(found_target, str):
            sets.append(VideoSet(name, path, edited, no_target=found_target))
        else:
            sets.append(VideoSet(name, path, edited, found_target))
    return sets


class _Counterparts:
    """The videos of one method, or the targets, by name and by name without extension."""

    def __init__(self, path: Path, what: str, originals: list[str], alone: bool, may_be_empty: bool = False):
        self._path, self._originals = path, originals
        self._videos = _videos(path, what, may_be_empty)
        if path.is_file() and len(originals) > 1:
            raise UsageError(
                f"expected a folder with {what}, because there are {len(originals)} originals, found the file {path}; "
                "name the folder that holds it"
            )
        self._alone = (alone or path.is_file()) and len(self._videos) == len(originals) == 1
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in self._videos:
            self._names[_key(name)].append(name)

    def of(self, name: str) -> Path | str:
        """The video that belongs to an original, or the reason why there is none."""
        if self._alone:
            return next(iter(self._videos.values()))
        if name in self._videos:
            return self._videos[name]
        names = self._names.get(_key(name), [])
        if not names:
            return f"there is no counterpart of {name} in {self._path}"
        if len(names) > 1 or self._originals.count(_key(name)) > 1:
            found = " and ".join(names)
            return (
                f"it is not clear which video in {self._path} belongs to {name}, because several videos there or among "
                f"the originals differ only in their extension, found {found}; give every video its original's full "
                "name"
            )
        return self._videos[names[0]]


def _videos(
    path: Path, what: str, may_be_empty: bool = False, tell: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Name relative to the folder -> video."""
    if not os.path.exists(path):  # False for a name that is too long, which is an error to `Path.exists`
        raise UsageError(f"expected {what} at {path}, found nothing; check the path")
    try:
        # Not `distinct`: several targets may be links to one clean video.
        return {name: file for file, name in find_videos([path], distinct=False, tell=tell)}
    except InputError:
        if may_be_empty and path.is_dir():
            return {}
        raise


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_EXTENSIONS else name
