"""Which edited video belongs to which original."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from toolkit.errors import InputError, UsageError
from toolkit.video.finding import VIDEO_EXTENSIONS, find_videos


@dataclass(frozen=True)
class VideoSet:
    """One original and what methods made of it.

    Attributes:
        name: of the original, below its folder.
        edited: method -> video; a sentence where there is none.
        target: the true video without the attribute, or None.
        no_target: why there is none, where targets were named.
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
) -> list[VideoSet]:
    """Match by the path below the folder; where that is not there, by the path without its ending, if one video has it.

    A single video belongs to a single video, or to the only one of a folder, whatever their names.

    Args:
        original: a video or a folder of them.
        methods: method -> a video or a folder of them.
        target: a video or a folder of them.
        failed: method -> original's name -> sentence: videos that could not be made; their folder may be empty.

    Raises:
        UsageError: a path is not there, or a single video stands against a folder of several originals.
        InputError: a folder cannot be read, or holds no video.
    """
    originals = _videos(original, "the originals")
    keys, alone = [_key(name) for name in originals], original.is_file()
    failed = failed or {}
    found = {
        method: _Counterparts(path, f"the edited videos of {method}", keys, alone, bool(failed.get(method)))
        for method, path in methods.items()
    }
    targets = None if target is None else _Counterparts(target, "the targets", keys, alone)
    sets = []
    for name, path in originals.items():
        edited = {
            method: failed.get(method, {}).get(name) or counterparts.of(name) for method, counterparts in found.items()
        }
        true = None if targets is None else targets.of(name)
        sentence = true if isinstance(true, str) else ""
        sets.append(VideoSet(name, path, edited, None if sentence else true, sentence))
    return sets


class _Counterparts:
    """The videos of one side, by name and by name without ending."""

    def __init__(self, path: Path, what: str, originals: list[str], alone: bool, may_be_empty: bool = False):
        self._path, self._originals = path, originals
        self._videos = _videos(path, what, may_be_empty)
        if path.is_file() and len(originals) > 1:
            raise UsageError(
                f"expected a folder with {what}, as there are {len(originals)} originals, found the file {path}; name "
                "the folder that holds it"
            )
        self._alone = (alone or path.is_file()) and len(self._videos) == len(originals) == 1
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in self._videos:
            self._names[_key(name)].append(name)

    def of(self, name: str) -> Path | str:
        """The video, or a sentence."""
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
                f"it is not clear which video in {self._path} belongs to {name}, since several videos there or among "
                f"the originals differ only in their ending, found {found}; give every video its original's full name"
            )
        return self._videos[names[0]]


def _videos(path: Path, what: str, may_be_empty: bool = False) -> dict[str, Path]:
    """Name below the folder -> video."""
    if not path.exists():
        raise UsageError(f"expected {what} at {path}, found nothing; check the path")
    try:
        # By name: several targets may be links to one clean video.
        return {name: file for file, name in find_videos([path], distinct=False)}
    except InputError:
        if may_be_empty and path.is_dir():
            return {}
        raise


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_EXTENSIONS else name
