"""Checks the file that a video is written to, and reports errors of writing it."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from toolkit.errors import InputError, ToolkitError, UsageError


def repeatable(suffix: str) -> dict[str, str]:
    """Options for writing a container, so that the same content gives the same bytes.

    Matroska would draw random identifiers; the others need nothing, and with this option would lose FFmpeg's name.
    """
    return {"fflags": "+bitexact"} if suffix.lower() == ".mkv" else {}


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


def check_distinct(source: Path, target: Path) -> None:
    """Refuse to overwrite the source, also through links.

    Raises:
        UsageError: source and target are the same file.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target} is the source itself, which would be overwritten; name another output")


def written_through(path: Path) -> Path:
    """The file to write: behind a link, so that the link stays and its target is replaced.

    Raises:
        UsageError: the links lead in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(f"{path} is a link that leads back to itself; remove it or name another output") from None
    return Path(os.path.realpath(path))


DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EBUSY, errno.ETXTBSY, errno.EXDEV),
    *(errno.ELOOP, errno.EMFILE, errno.ENFILE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EPIPE),
}
"""Errors of the system; FFmpeg reports others, such as EINVAL, if a container does not take what it is given."""


class UnwritableStreams(InputError):
    """The container does not take the streams, whatever the disk; the same command would fail in the same way."""


def is_disk_error(error: Exception) -> bool:
    """Whether the system refused to write, rather than the container."""
    return getattr(error, "errno", None) in DISK


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the system into one sentence.

    Raises:
        ToolkitError: the file cannot be written, for example because the disk is full.
        UsageError: its name is too long.
        UnwritableStreams: the container does not take the streams.
    """
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            raise UsageError(
                f"{path} is too long a name, of which temporary files get a few letters more; name a shorter output"
            ) from None
        if is_disk_error(error):
            raise ToolkitError(
                f"expected to write {path}, but: {error.strerror}; check the disk's free space and access rights"
            ) from None
        raise UnwritableStreams(
            f"the streams do not fit into {path.name}: {error.strerror or error}; the same command would fail again, "
            "so convert the source with ffmpeg first"
        ) from None
