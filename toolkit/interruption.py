"""SIGTERM as Ctrl-C: long runs are stopped in the same way by people and by batch systems."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Asked:
    """True once somebody has asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        self._asked = True

    def __bool__(self) -> bool:
        return self._asked


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Asked]:
    """The first Ctrl-C or SIGTERM lets the running step end; the second one acts at once."""
    interrupted = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    signals = (signal.SIGINT, signal.SIGTERM)

    def ask(*_: object) -> None:
        interrupted.ask()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in signals}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_signals_to_the_parent(_: int = 0) -> None:
    """For processes that read for a training: Ctrl-C reaches the whole group, and its last step still needs them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
