"""Keeps log lines of third-party libraries, such as MediaPipe and TensorFlow Lite, off the terminal.

Native libraries write to file descriptor 2 whatever Python does with `sys.stderr`, and the released builds read no
setting that silences them. `hidden` therefore redirects the descriptor, but only around calls into a library that
reports its errors as exceptions. Everything else on stderr stays visible: Python's output, tracebacks, the last message
of a library that ends the process, and the output of programs that the toolkit starts.

`TOOLKIT_VERBOSE=1`, which ``--verbose`` sets, shows all lines.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

VERBOSE = "TOOLKIT_VERBOSE"
"""Environment variable that shows these lines; child processes inherit it."""

LEVELS = {"DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"}
"""Variables from which packages take their log level when they are imported."""

_lock = threading.Lock()
_separated = False
_hiding = 0
_visible = -1


def verbose() -> bool:
    """Whether the lines are shown."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


@contextmanager
def quiet(show: bool = False) -> Iterator[None]:
    """In the block, show no log lines of third-party libraries: `hidden` takes effect, and warnings are ignored.

    For the main function of a program; elsewhere, such as in a user's own program, `hidden` does nothing. Python's
    `sys.stderr` gets its own descriptor, so that redirecting descriptor 2 never hides a progress bar or a traceback.
    Python warnings, which only third-party packages raise, stay if the user asked for them with ``-W`` or
    ``PYTHONWARNINGS``; log levels that the user set stay too.

    Args:
        show: show everything instead, in child processes too.
    """
    global _separated
    if show and not verbose():
        with environment({VERBOSE: "1"}):
            yield
        return
    # Without a stderr at startup, descriptor 2 may be any file that was opened since.
    if _separated or verbose() or sys.__stderr__ is None:
        yield
        return
    stderr = sys.stderr
    own = _reopened(stderr) if _writes_to_descriptor_2(stderr) else None
    _separated = True
    try:
        with (
            warnings.catch_warnings(),
            environment({name: os.environ.get(name, level) for name, level in LEVELS.items()}),
        ):
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
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the block; child processes that it starts inherit them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def _writes_to_descriptor_2(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.fileno() == 2
    except (OSError, ValueError, AttributeError):  # captured by a test or a notebook, or closed
        return False


def _reopened(stream: TextIO) -> TextIO:
    """The same file under another descriptor."""
    stream.flush()
    return open(os.dup(2), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
