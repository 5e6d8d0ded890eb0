"""Stops long runs in the same way for Ctrl-C and for SIGTERM, which batch systems send."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

RESUMES = "the same command resumes"
"""What users are told when a run stops whose finished parts are kept."""


@contextlib.contextmanager
def termination_interrupts(advice: str = "") -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt. Outside the main thread, nothing changes.

    Args:
        advice: what an interruption in the block tells the user, such as `RESUMES`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt as interruption:
        if advice and not interruption.args:
            raise KeyboardInterrupt(advice) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


class StopRequest:
    """Becomes true when a stop is requested."""

    def __init__(self) -> None:
        self._requested = False

    def make(self) -> None:
        """Request a stop."""
        self._requested = True

    def __bool__(self) -> bool:
        return self._requested


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Let the first Ctrl-C or SIGTERM only request a stop, so that the current step can finish.

    The second signal acts at once. Outside the main thread, signals are left alone.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    signals = (signal.SIGINT, signal.SIGTERM)

    def make(number: int, frame: FrameType | None) -> None:
        request.make()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = {number: signal.signal(number, make) for number in signals}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_the_parent(worker: int = 0) -> None:
    """Ignore Ctrl-C and SIGTERM in a process that reads data: the parent still needs it for its last step.

    Args:
        worker: number of the process; a `DataLoader` passes it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
