"""Checks the file that a video is written to, and reports errors of writing it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from toolkit.errors import ToolkitError, UsageError

REPEATABLE = {"fflags": "+bitexact"}
"""Options for writing a container: the same content gives the same bytes. Matroska would draw random identifiers."""


def check_target(path: Path, suffixes: Collection[str], crf: float) -> None:
    """Check the settings of a new video before any work.

    Args:
        path: the new file.
        suffixes: names of containers that can hold the video, such as ``.mp4``.
        crf: x264's constant rate factor.

    Raises:
        UsageError: the suffix or the crf is not allowed, or the folder does not exist.
    """
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"expected a file name that ends in {' or '.join(sorted(suffixes))}, found {path.name}")
    if not 0 <= crf <= 51:
        raise UsageError(f"expected a crf from 0 to 51, found {crf}")
    if not path.parent.is_dir():
        raise UsageError(f"expected a folder {path.parent} to write {path.name} to, but there is none; create it first")


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the system into one sentence.

    Raises:
        ToolkitError: the file cannot be written, for example because the disk is full.
    """
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise ToolkitError(
            f"expected to write {path}, but: {error.strerror}; check the disk's free space and access rights"
        ) from None
