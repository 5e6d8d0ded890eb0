"""Finds video files in a list of files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from toolkit.errors import InputError

_EXTENSIONS = "3gp avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv ts webm wmv y4m"
VIDEO_EXTENSIONS = frozenset(f".{name}" for name in _EXTENSIONS.split())


def find_videos(paths: Iterable[Path], distinct: bool = True) -> list[tuple[Path, str]]:
    """The given files and the video files in and below the given folders, sorted by name.

    Hidden files and folders are skipped. Files in `paths` are taken whatever their extension.

    Args:
        paths: files and folders.
        distinct: return a file once even if it is linked or named several times.

    Returns:
        Path and display name of each file. The name of a file in a folder is relative to that folder.

    Raises:
        InputError: a path does not exist, or a folder cannot be read or contains no video.
    """
    found: dict[Path, str] = {}
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
            files = sorted(_walk(path))
            if not files:
                raise InputError(f"no video in the folder {path} or below; expected files such as .mp4, .mov or .webm")
            for file in files:
                name = _readable(file.relative_to(path).as_posix())
                found.setdefault(_resolved(file) if distinct else file.absolute(), name)
        else:
            found.setdefault(path.resolve() if distinct else path.absolute(), _readable(path.name))
    return sorted(found.items(), key=lambda item: (item[1], item[0]))


def _resolved(file: Path) -> Path:
    """The file behind links. A loop of links is returned as it is and fails when it is opened."""
    try:
        return file.resolve()
    except (RuntimeError, OSError):
        return file.absolute()


def _readable(name: str) -> str:
    """The name as valid text; bytes that are not UTF-8 become ``\\xNN``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _walk(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise InputError(
            f"the folder {error.filename} cannot be read ({error.strerror}); change its access rights or leave it out"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_EXTENSIONS:
                yield Path(parent, name)
