"""Keeps log lines of native libraries, such as MediaPipe and TensorFlow Lite, off the terminal.

These libraries write to file descriptor 2 whatever Python does with `sys.stderr`, and the released builds read no
setting that silences them. `hidden` therefore redirects the descriptor, but only around calls into a library that
reports its errors as exceptions. Everything else on stderr stays visible: Python's output, tracebacks, the last message
of a library that ends the process, and the output of programs that the toolkit starts.

`TOOLKIT_VERBOSE=1`, which ``--verbose`` sets, shows all lines.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

VERBOSE = "TOOLKIT_VERBOSE"
"""Environment variable that shows the native lines; child processes inherit it."""

_lock = threading.Lock()
_separated = False
_hiding = 0
_visible = -1


def verbose() -> bool:
    """Whether native lines are shown."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


@contextmanager
def quiet(show: bool = False) -> Iterator[None]:
    """Let `hidden` take effect in the block, and ignore Python warnings, which only third-party packages raise.

    For the main function of a program. Python's `sys.stderr` gets a descriptor of its own, so that redirecting
    descriptor 2 never hides a progress bar or a traceback. Outside the block, in a user's own program, `hidden` does
    nothing. Warnings stay if the user asked for them with ``-W`` or ``PYTHONWARNINGS``.

    Args:
        show: show everything instead, in child processes too.
    """
    global _separated
    if show and not verbose():
        with _environment(VERBOSE, "1"):
            yield
        return
    if _separated or verbose():
        yield
        return
    stderr = sys.stderr
    own = _reopened(stderr) if _writes_to_descriptor_2(stderr) else None
    _separated = True
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            if own is not None:
                sys.stderr = own
            yield
    finally:
        _separated = False
        if own is not None:
            sys.stderr = stderr
            own.close()


@contextmanager
def hidden() -> Iterator[None]:
    """Discard what is written to file descriptor 2 during a call into a native library.

    The library must raise its errors as Python exceptions, for its own messages about them are lost. Blocks may nest
    and overlap between threads.
    """
    if not _separated or verbose():
        yield
        return
    _hide()
    try:
        yield
    finally:
        _show()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _hide() -> None:
    global _hiding, _visible
    with _lock:
        _hiding += 1
        if _hiding > 1:
            return
        _visible = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)


def _show() -> None:
    global _hiding, _visible
    with _lock:
        _hiding -= 1
        if not _hiding:
            os.dup2(_visible, 2)
            os.close(_visible)


def _writes_to_descriptor_2(stream: io.TextIOBase | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except (OSError, ValueError, AttributeError):  # captured by a test or a notebook, or closed
        return False


def _reopened(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same file under another descriptor."""
    stream.flush()
    return open(os.dup(2), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
