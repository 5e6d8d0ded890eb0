"""Opens the video stream of a file and reports every failure in one sentence."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from toolkit.errors import InputError
from toolkit.video.notes import VideoNote

# `tty` renders any text file as video; the others read files that the user did not name.
REFUSED_FORMATS = {"tty", "hls", "concat", "dash", "image2", "imf", "ffmetadata"}
MAX_PIXELS = 1 << 27
"""Frames beyond 16K (15360x8640) come from a damaged header and would exhaust memory."""
DAMAGE = (av.FFmpegError, ValueError, IndexError, OverflowError, MemoryError)
"""Errors that PyAV raises on damaged files: those of FFmpeg, and those of its bindings for absurd header values."""
ADVICE = "check the file in a player, or convert it with ffmpeg"


def check_file(path: Path) -> None:
    """Check that a path is a readable, non-empty regular file.

    Raises:
        InputError: it is not; the message names the path and says why.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"expected a video file, but {path} is a folder; name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"expected a video file, but {path} is a pipe or a device; save it to a file first")
        if status.st_size == 0:
            raise InputError(f"expected a video, but {path} is empty; copy or download it again")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError(f"expected a video file, but there is none at {path}; check the path") from None
    except PermissionError:
        raise InputError(f"expected to read {path}, but permission is denied; change its access rights") from None
    except OSError as error:
        raise InputError(f"expected to read {path}, but the system reports: {error.strerror}; check the path") from None


def open_source(path: Path) -> InputContainer:
    """Open a file to read its streams.

    Raises:
        av.FFmpegError: it cannot be opened. Damaged headers raise the other errors of `DAMAGE`.
    """
    # The scheme and the whitelist prevent a file's name or content from opening anything else.
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open `path` and select its video stream: the first one that is not a cover picture.

    One thread decodes, because work is spread over processes and threads cost 10 to 80 % more CPU time per frame.

    Raises:
        InputError: the file is missing, unreadable, of another kind or truncated, or it has no video stream.
    """
    check_file(path)
    try:
        container = open_source(path)
    except DAMAGE as error:
        raise InputError(f"expected a video, but {path} cannot be opened ({_why(path, error)}); {ADVICE}") from None
    with container:
        if REFUSED_FORMATS.intersection(container.format.name.split(",")):
            raise InputError(f"expected a video, but the format of {path} is '{container.format.long_name}'; {ADVICE}")
        streams = picture_streams(container)
        if not streams:
            kinds = {"a cover picture" if s.type == "video" else s.type for s in container.streams}
            found = ", ".join(sorted(kinds)) or "nothing"
            raise InputError(f"expected a video stream in {path}, but it holds {found} only; name a video file")
        stream = streams[0]
        if stream.codec_context is None:
            raise InputError(f"expected a video that can be decoded, but the codec of {path} is unknown; {ADVICE}")
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


def left_out(container: InputContainer, video: VideoStream) -> Iterator[VideoNote]:
    """Notes on video streams that are not read."""
    more = len([stream for stream in picture_streams(container) if stream.index != video.index])
    if more:
        number = "the second video stream was" if more == 1 else f"{more} more video streams were"
        yield VideoNote("stream ignored", f"{number} left out: only the first one is read")


def picture_streams(container: InputContainer) -> list[VideoStream]:
    """Video streams that are not cover pictures."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def reason(error: Exception) -> str:
    """An error's text in lower case, without FFmpeg's error number and file name."""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


def _why(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "an MP4 or MOV file whose index, the moov box, is missing or damaged: it may be truncated"
    if not head.translate(None, bytes({*range(32, 256), 9, 10, 12, 13})):
        return "it is a text file"
    return reason(error)
