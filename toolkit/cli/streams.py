"""stdout and stderr that never end the work: any name can be printed; a full disk or a closed pipe only loses text."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from toolkit.files import readable

ERRORS = "toolkit.readable"
"""Error handler of the streams: prints what the encoding lacks as an escape, and bytes of file names as ``\\xNN``."""


@contextmanager
def tolerant() -> Iterator[Losses]:
    """In the block, printing to stdout and stderr raises no errors.

    Streams that a test or a notebook captures stay as they are.
    """
    _occupy_standard_descriptors()
    losses = Losses()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = losses.out.over(before[0]), losses.err.over(before[1])
    try:
        yield losses
    finally:
        mine = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for stream, earlier in zip(mine, before, strict=True):
            if stream is not earlier:
                stream.close()


class Losses:
    """What could not be printed in the block."""

    def __init__(self) -> None:
        self.out, self.err = _Descriptor(1), _Descriptor(2)


class _Descriptor(io.RawIOBase):
    """A file descriptor that takes everything. `error` tells why the text is lost, from the first failure on."""

    def __init__(self, number: int):
        self._standard = self._number = number
        self.error: OSError | None = None

    def over(self, stream: TextIO | None) -> TextIO:
        """A stream on the descriptor in place of `stream`, or `stream` itself if it is none of the process's own."""
        if stream is not None and not self._is_mine(stream):
            return stream
        if stream is not None:
            stream.flush()
        if self._standard == 2:
            self._number = os.dup(2)  # `native_logs` redirects descriptor 2
        encoding = stream.encoding if stream is not None else "utf-8"
        at_once = self._standard == 2 or self.isatty()
        return io.TextIOWrapper(io.BufferedWriter(self), encoding=encoding, errors=ERRORS, line_buffering=at_once)

    def _is_mine(self, stream: TextIO) -> bool:
        try:
            return type(stream) is io.TextIOWrapper and stream.fileno() == self._standard
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        if self._number != self._standard:
            os.close(self._number)
            self._number = self._standard
        super().close()

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                return os.write(self._number, data)
            except BlockingIOError:
                raise
            except OSError as error:
                self.error = error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)


def _occupy_standard_descriptors() -> None:
    """Open closed ones on nothing: a video that was opened as descriptor 1 would receive what libraries print."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = readable(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(ERRORS, _replace)
