"""Finds video files in a list of files and folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from toolkit.errors import InputError
from toolkit.files import is_litter, readable
from toolkit.words import counted

_EXTENSIONS = (
    "3g2 3gp amv asf avi divx dv evo f4v flv gif gxf ivf m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d mkv mod mov mp4 "
    "mpe mpeg mpg mpv mts mxf nsv nut ogm ogv ogx qt rm rmvb tod tp trp ts vob webm wmv wtv xvid y4m"
)
VIDEO_EXTENSIONS = frozenset(f".{name}" for name in _EXTENSIONS.split())


_HIDDEN, _NO_EXTENSION, _FOLDERS = "hidden", "without an extension", "folders"
_SHOWN = 6
"""Kinds of skipped files that a sentence names."""


def find_videos(
    paths: Iterable[Path], distinct: bool = True, tell: Callable[[str], None] | None = None
) -> list[tuple[Path, str]]:
    """The given files and the video files in and below the given folders, sorted by name.

    Files with other extensions, hidden files and folders, and folders below that cannot be read are skipped. Files in
    `paths` are taken whatever their extension.

    Args:
        paths: files and folders.
        distinct: return a file once even if it is linked or named several times.
        tell: called once with a sentence that counts what was skipped, if anything was.

    Returns:
        Path and display name of each file. The name of a file in a folder is relative to that folder.

    Raises:
        InputError: a path does not exist, or a folder in `paths` cannot be read or contains no video.
    """
    found: dict[Path, str] = {}
    skipped: Counter[str] = Counter()
    for path in paths:
        try:
            kind = path.stat().st_mode
        except FileNotFoundError:
            raise InputError(f"no such video or folder: {path}; check the path") from None
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); change its access rights or leave it out"
            ) from error
        if stat.S_ISDIR(kind):
            here: Counter[str] = Counter()
            files = sorted(_walk(path, here))
            skipped += here
            if not files:
                others = f"; {_sentence(here)}" if here else ""
                raise InputError(
                    f"no video in the folder {path} or below; expected files such as .mp4, .mov or .webm{others}"
                )
            for file in files:
                name = readable(file.relative_to(path).as_posix())
                found.setdefault(_resolved(file) if distinct else file.absolute(), name)
        else:
            found.setdefault(path.resolve() if distinct else path.absolute(), readable(path.name))
    if skipped and tell is not None:
        tell(_sentence(skipped))
    return sorted(found.items(), key=lambda item: (item[1], item[0]))


def _resolved(file: Path) -> Path:
    """The file behind links. A loop of links is returned as it is and fails when it is opened."""
    try:
        return file.resolve()
    except (RuntimeError, OSError):
        return file.absolute()


def _walk(folder: Path, skipped: Counter[str]) -> Iterable[Path]:
    def leave_out(error: OSError) -> None:
        if error.filename == str(folder):
            raise InputError(
                f"the folder {folder} cannot be read ({error.strerror}); change its access rights or leave it out"
            ) from error
        skipped[_FOLDERS] += 1

    for parent, folders, names in os.walk(folder, onerror=leave_out):
        hidden = sum(name.startswith(".") and not is_litter(name) for name in folders)
        if hidden:
            skipped[_HIDDEN] += hidden
        folders[:] = [name for name in folders if not name.startswith(".") and not is_litter(name)]
        for name in names:
            suffix = Path(name).suffix.lower()
            if is_litter(name):
                continue
            if name.startswith("."):
                skipped[_HIDDEN] += 1
            elif suffix in VIDEO_EXTENSIONS:
                yield Path(parent, name)
            else:
                skipped[readable(suffix) or _NO_EXTENSION] += 1


def _sentence(skipped: Counter[str]) -> str:
    """Such as ``3 other files were skipped: 2 .jpg, 1 hidden``."""
    order = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{number} {kind}" for kind, number in order if number and kind != _FOLDERS]
    folders = skipped[_FOLDERS]
    if folders:
        kinds.append(f"{counted(folders, 'folders')} that cannot be read")
    if len(kinds) > _SHOWN:
        kinds[_SHOWN:] = [f"and {len(kinds) - _SHOWN} more kinds"]
    number = sum(skipped.values())
    return f"{counted(number, 'other files')} {'was' if number == 1 else 'were'} skipped: {', '.join(kinds)}"
