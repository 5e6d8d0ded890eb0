"""Names of the files that an edit writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from toolkit.edit.config import WritingConfig
from toolkit.errors import UsageError
from toolkit.files import derived_path

SUFFIXES = {False: (".mp4", ".mov", ".mkv"), True: (".mkv", ".mp4")}
"""Suffixes that results keep, without and with `lossless`; a video with another one gets the first."""


def report_name(target: Path) -> Path:
    """``face.mp4`` has its report in ``face.mp4.json``."""
    return derived_path(target, after=".json")


def comparison_name(target: Path) -> Path:
    """``face.mp4`` has its comparison in ``face.compare.mp4``."""
    return derived_path(target, mark=".compare")


def preview_name(target: Path) -> Path:
    """``face.mp4`` becomes ``face.preview.mp4``."""
    return derived_path(target, mark=".preview")


@dataclass(frozen=True)
class FolderName:
    """Where the result of a video of a folder goes.

    Attributes:
        stem: path without suffix, relative to the folder of results.
        suffixes: of the containers that the result may have, the first choice first.
        copy: relative path of the copy if there is nothing to edit.
        other_stem: the stem that the result would have if no other video had it too.
    """

    stem: str
    suffixes: tuple[str, ...]
    copy: str
    other_stem: str

    def paths(self, folder: Path, writing: WritingConfig) -> Iterator[Path]:
        """All paths that a result may have, and may have had in a folder with fewer videos."""
        made = preview_name if writing.preview is not None else Path
        for stem in dict.fromkeys([self.stem, self.other_stem]):
            for suffix in self.suffixes:
                yield made(folder / f"{stem}{suffix}")
        if writing.preview is None:
            yield folder / self.copy


def folder_names(names: Sequence[str], writing: WritingConfig) -> list[FolderName]:
    """Names of the results of a folder's videos, all different, whatever container each result needs.

    A video keeps its name and, if results may have it, its suffix. Where other videos have the same stem, the suffix
    becomes a part of the name: ``old.flv`` beside ``old.wmv`` becomes ``old.flv.mp4``. The name depends on nothing
    else, so it stays the same when a run is repeated.

    Args:
        names: of the videos, relative to their folder, in a fixed order.
        writing: settings.
    """
    allowed = SUFFIXES[writing.lossless]
    paths = [Path(name) for name in names]
    shared = Counter(_folded(path.with_suffix("")) for path in paths)
    taken: set[str] = set()
    result = []
    for path in paths:
        stem, suffix = path.with_suffix("").as_posix(), path.suffix.lower()
        suffixes = (suffix,) if suffix in allowed else allowed
        wanted = stem if suffix in allowed or shared[_folded(Path(stem))] == 1 else path.as_posix()
        for chosen in chain([wanted, path.as_posix()], (f"{path.as_posix()}.{number}" for number in count(2))):
            outputs = {_folded(one) for one in _outputs(chosen, suffixes, writing)}
            copy = f"{stem}{suffix}" if chosen in (wanted, path.as_posix()) else f"{chosen}{suffix}"
            outputs.add(_folded(Path(copy)))
            if not outputs & taken:
                break
        taken |= outputs
        result.append(FolderName(chosen, suffixes, copy, stem))
    return result


def _outputs(stem: str, suffixes: Sequence[str], writing: WritingConfig) -> Iterator[Path]:
    """All videos that may be written for a video with this stem."""
    for suffix in suffixes:
        path = Path(f"{stem}{suffix}")
        output = preview_name(path) if writing.preview is not None else path
        yield output
        if writing.compare is not None:
            yield comparison_name(output)


def _folded(path: Path) -> str:
    """The name as file systems compare it that do not tell upper from lower case."""
    return path.as_posix().casefold()


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
