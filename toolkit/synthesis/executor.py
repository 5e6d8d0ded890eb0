"""Runs a function over items somewhere else: in processes of this machine, later on several."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from toolkit.errors import ToolkitError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


_Busy = dict[Connection, tuple[BaseProcess, Any]]


class WorkerError(ToolkitError):
    """A worker process died, or met an error that nobody foresaw."""


@dataclass(frozen=True)
class Outcome:
    """What became of one item: its value, or an error; `details` is the traceback of an unforeseen one."""

    item: Any
    value: Any = None
    error: ToolkitError | None = None
    details: str = ""


class Executor(Protocol):
    """Applies a function to items, in any order and anywhere."""

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        """One outcome per item, as they come. Closing the iterator stops what still runs.

        Args:
            function: a function of a module; it and its results travel between processes.
        """
        ...


class ProcessExecutor:
    """Processes of this machine, each with one item at a time and one thread per library.

    A process that dies takes only its own item with it and is replaced. When this process dies, so do they.
    """

    def __init__(self, workers: int):
        self._workers = workers

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome]:
        waiting = deque(items)
        busy: _Busy = {}
        try:
            while waiting and len(busy) < self._workers:
                _give(busy, *_start(function), waiting.popleft())
            while busy:
                for connection in wait(list(busy)):
                    process, item = busy.pop(connection)
                    try:
                        value, error, details = connection.recv()
                    except (EOFError, ConnectionResetError):
                        process.join()
                        connection.close()
                        error, value, details = WorkerError(_died(process.exitcode)), None, ""
                        if waiting:
                            process, connection = _start(function)
                    if waiting:
                        _give(busy, process, connection, waiting.popleft())
                    elif not connection.closed:
                        connection.close()
                        process.join()
                    yield Outcome(item, value, error, details)
        finally:
            for process, _ in busy.values():
                process.kill()
            for connection, (process, _) in busy.items():
                process.join()
                connection.close()


def _give(busy: _Busy, process: BaseProcess, connection: Connection, item: Any) -> None:
    busy[connection] = process, item
    # A process that has just died is found by the read that follows.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(item)


def _died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        reason = f"was ended by {signal.Signals(-exitcode).name}"
        hint = "; if memory ran out, use fewer workers" if -exitcode == signal.SIGKILL else ""
    else:
        reason, hint = f"ended with exit code {exitcode}", ""
    return f"its worker process {reason}{hint}; run the same command again to retry"


def _start(function: Callable[[Any], Any]) -> tuple[BaseProcess, Connection]:
    # "spawn": a forked child would inherit the threads' locks of the libraries that the parent has loaded.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    with _one_thread():
        process.start()
    theirs.close()
    return process, ours


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries read these variables when they are loaded, so they must be set before the child's first import."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The worker's loop: an item in; value, error and details out."""
    # Ctrl-C reaches the whole process group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            answer = function(item), None, ""
        except ToolkitError as error:
            answer = None, error, ""
        except Exception as error:
            # A bug, in the toolkit or a plugin: it must not end the run, and must not go unseen.
            answer = None, WorkerError(f"unexpected {type(error).__name__}: {error}"), traceback.format_exc()
        connection.send(answer)


def _exit_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
