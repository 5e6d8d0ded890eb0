"""Video files that a user means by a list of files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from toolkit.errors import InputError

_EXTENSIONS = "3gp avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts webm wmv y4m"
VIDEO_EXTENSIONS = frozenset(f".{name}" for name in _EXTENSIONS.split())


def find_videos(paths: Iterable[Path], distinct: bool = True) -> list[tuple[Path, str]]:
    """Files and, for folders, the video files in them and below, sorted; each with its name for people.

    Names that begin with a dot are left out. A file that is named itself is taken whatever its extension.

    Args:
        paths: files and folders.
        distinct: whether a file that has several names, by links or because it is named twice, counts once.

    Raises:
        InputError: a path is absent, a folder cannot be read or holds no video.
    """
    found: dict[Path, str] = {}
    for path in paths:
        try:
            kind = path.stat().st_mode
        except FileNotFoundError:
            raise InputError(f"no such video or folder: {path}; check the path") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); allow reading it or leave it out") from error
        if stat.S_ISDIR(kind):
            files = sorted(_walk(path))
            if not files:
                raise InputError(
                    f"no video in the folder {path}: expected files such as .mp4, .mov or .webm in it or below"
                )
            for file in files:
                name = _readable(file.relative_to(path).as_posix())
                found.setdefault(_resolved(file) if distinct else file.absolute(), name)
        else:
            found.setdefault(path.resolve() if distinct else path.absolute(), _readable(path.name))
    return sorted(found.items(), key=lambda item: (item[1], item[0]))


def _resolved(file: Path) -> Path:
    """The file behind links; a loop of links stays, and fails as a source when it is opened."""
    try:
        return file.resolve()
    except (RuntimeError, OSError):
        return file.absolute()


def _readable(name: str) -> str:
    """The name as text that can be stored: a byte that is not UTF-8 becomes ``\\xNN``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _walk(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError):
        raise InputError(
            f"the folder {error.filename} cannot be read ({error.strerror}); allow reading it or leave it out"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_EXTENSIONS:
                yield Path(parent, name)
