"""Runs a function over items in worker processes of this machine."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from toolkit import native_logs
from toolkit.errors import ToolkitError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TAIL = 4000
"""Bytes of a worker's stderr that an error quotes."""


class WorkerError(ToolkitError):
    """A worker process died or raised an unexpected error."""


@dataclass(frozen=True)
class Outcome:
    """The result of one item: a value or an error.

    Attributes:
        details: of an unexpected error, the traceback and the end of the worker's stderr.
    """

    item: Any
    value: Any = None
    error: ToolkitError | None = None
    details: str = ""


OnEvent = Callable[[Any, Any], object]
"""Receives an item, and an event of the work on it."""


class Executor(Protocol):
    """Applies a function to items, in any order and in any process."""

    def run(
        self, function: Callable[..., Any], items: Iterable[Any], on_event: OnEvent | None = None
    ) -> Generator[Outcome, None, None]:
        """Yield one outcome per item, in order of completion. Closing the iterator stops the remaining work.

        Args:
            function: a module-level function, or an object that can be called. It is pickled once for each process, and
                its results too.
            on_event: if given, called here with each event that the function reports before its result. The function
                then gets a second argument, which it calls with an event.
        """
        ...


def available_cores() -> int:
    """The number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class InlineExecutor:
    """Runs items one after the other in this process, for tests and debugging."""

    def run(
        self, function: Callable[..., Any], items: Iterable[Any], on_event: OnEvent | None = None
    ) -> Generator[Outcome, None, None]:
        for item in items:
            try:
                yield Outcome(item, function(item) if on_event is None else function(item, partial(on_event, item)))
            except ToolkitError as error:
                yield Outcome(item, error=error)
            except Exception as error:
                unexpected = WorkerError(f"unexpected {type(error).__name__}: {error}")
                yield Outcome(item, error=unexpected, details=traceback.format_exc())


class ProcessExecutor:
    """Runs items in processes of this machine, one item at a time in each.

    If a process dies, only its item fails, and a new process replaces it. If this process dies, the workers end too.

    Args:
        workers: number of processes.
        threads: threads of each numerical library per process; None for the library's default.
    """

    def __init__(self, workers: int, threads: int | None = 1):
        self._workers, self._threads = workers, threads

    def run(
        self, function: Callable[..., Any], items: Iterable[Any], on_event: OnEvent | None = None
    ) -> Generator[Outcome, None, None]:
        waiting = deque(items)
        busy: dict[Any, tuple[_Worker, Any]] = {}
        workers: list[_Worker] = []

        def give(worker: _Worker) -> None:
            busy[worker.connection] = worker, waiting.popleft()
            worker.send(busy[worker.connection][1])

        def start() -> None:
            workers.append(_Worker(function, self._threads, reports=on_event is not None))
            give(workers[-1])

        try:
            while waiting and len(busy) < self._workers:
                start()
            while busy:
                for connection in wait(list(busy)):
                    worker, item = busy[connection]
                    message = worker.receive(item)
                    if isinstance(message, _Event):
                        assert on_event is not None  # else the function could not report
                        on_event(item, message.value)
                        continue
                    outcome, _ = message, busy.pop(connection)
                    if waiting and worker.process.is_alive():
                        give(worker)
                    else:
                        worker.close()
                        workers.remove(worker)
                        if waiting:
                            start()
                    yield outcome
        finally:
            for worker in workers:
                worker.process.kill()
            for worker in workers:
                worker.close()


@dataclass(frozen=True)
class _Event:
    """What a function reports before its result."""

    value: Any


class _Worker:
    """A process, our end of its pipe, and the file that receives its stderr."""

    def __init__(self, function: Callable[..., Any], threads: int | None, reports: bool):
        # Native libraries write log lines that would tear the progress bar; `--verbose` shows them.
        try:
            self.messages = tempfile.NamedTemporaryFile(prefix="toolkit-worker-", suffix=".log")  # noqa: SIM115
        except OSError as error:
            raise WorkerError(
                f"a worker needs a temporary file, which cannot be created ({error.strerror}). "
                "Free some space, or set TMPDIR to a folder with space, then run the same command again"
            ) from error
        # A forked child would inherit locks held by threads of the parent's libraries, so processes are spawned.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(theirs, self.messages.name, function, reports), daemon=True
        )
        with native_logs.environment(_thread_limits(threads)):
            self.process.start()
        theirs.close()

    def send(self, item: Any) -> None:
        # If the process has just died, the next read reports it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(item)

    def receive(self, item: Any) -> Outcome | _Event:
        """Wait for the result of `item`, or an event before it."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Outcome(item, error=WorkerError(_died(self.process.exitcode)), details=self._tail())
        if isinstance(message, _Event):
            return message
        value, error, details = message
        if details:
            details += self._tail()
        return Outcome(item, value, error, details)

    def _tail(self) -> str:
        size = self.messages.seek(0, os.SEEK_END)
        self.messages.seek(max(0, size - _TAIL))
        return self.messages.read().decode(errors="replace")

    def close(self) -> None:
        """Tell the process to end, and wait until it has."""
        self.connection.close()
        self.process.join()
        self.messages.close()


def _died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        reason = f"was ended by {signal.Signals(-exitcode).name}"
        hint = "; if memory ran out, use fewer workers" if -exitcode == signal.SIGKILL else ""
    else:
        reason, hint = f"ended with exit code {exitcode}", ""
    return f"its worker process {reason}{hint}; run the same command again to retry"


def _thread_limits(threads: int | None) -> dict[str, str]:
    """Variables that limit the threads of libraries, which read them on import: set them before a process starts."""
    return {} if threads is None else dict.fromkeys(_THREADS, str(threads))


def _serve(connection: Connection, messages: str, function: Callable[..., Any], reports: bool) -> None:
    """The worker's loop: receive an item, send value, error and details, and events before."""
    # Ctrl-C reaches the whole process group, and the parent decides how to react.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(messages,), daemon=True).start()
    kept = not native_logs.verbose()
    if kept:
        target = os.open(messages, os.O_WRONLY | os.O_APPEND)
        os.dup2(target, 2)
        os.close(target)
    faulthandler.enable(file=2)
    import cv2

    cv2.setNumThreads(1)
    arguments = (lambda event: connection.send(_Event(event)),) if reports else ()
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        if kept:
            os.ftruncate(2, 0)  # messages of earlier items do not matter
        try:
            answer: tuple[Any, ToolkitError | None, str] = (function(item, *arguments), None, "")
        except ToolkitError as error:
            answer = None, _portable(error), ""
        except Exception as error:
            # A bug in the toolkit or a plugin. It is reported, and the run continues.
            answer = None, WorkerError(f"unexpected {type(error).__name__}: {error}"), traceback.format_exc()
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent is gone


def _portable(error: ToolkitError) -> ToolkitError:
    """The error, or only its text if a plugin's class cannot be pickled."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return WorkerError(str(error))


def _exit_with_parent(messages: str) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a child
    parent.join()
    with contextlib.suppress(OSError):
        os.unlink(messages)
    os._exit(1)
