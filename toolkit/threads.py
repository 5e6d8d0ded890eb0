"""Runs a function over items in threads of this process, for work whose time passes in native code.

Threads share loaded models and start at once. Processes (`toolkit.executor`) survive a crash, and Python code does not
hold them up; each one loads everything anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")

Report = Callable[[Any], None]
"""Called with an event of the work on an item."""


def in_threads(
    function: Callable[[S, I, Report], R],
    items: Iterable[I],
    states: Sequence[S],
    on_event: Callable[[Any], object] = lambda event: None,
) -> Generator[tuple[I, R], None, None]:
    """Yield each item with the function's result, in order of completion.

    An error of an item is raised here, once the other threads have stopped at their next event. So is Ctrl-C; a second
    one does not wait. Closing the generator stops them too. With one state, everything happens in the thread of the
    caller, in order.

    Args:
        function: called with a state, an item, and a function that reports an event.
        items: pulled in the caller's thread, when a thread is about to need the next one.
        states: what a thread needs for itself; there are as many threads as states, or as items if these are fewer.
        on_event: called in the caller's thread with each event that a function reports.
    """
    if len(states) == 1:
        return _one_by_one(function, items, states[0], on_event)
    return _side_by_side(function, items, states, on_event)


def _one_by_one(
    function: Callable[[S, I, Report], R], items: Iterable[I], state: S, on_event: Callable[[Any], object]
) -> Generator[tuple[I, R], None, None]:
    def report(event: Any) -> None:
        on_event(event)

    for item in items:
        yield item, function(state, item, report)


def _side_by_side(
    function: Callable[[S, I, Report], R], items: Iterable[I], states: Sequence[S], on_event: Callable[[Any], object]
) -> Generator[tuple[I, R], None, None]:
    team, iterator, given = _Team(function, states), iter(items), 0
    try:
        while True:
            while given <= team.size:  # one item waits, so that no thread does
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                team.give(item)
                given += 1
            if not given:
                return
            message = team.messages.get()
            if isinstance(message, _Event):
                on_event(message.value)
                continue
            given -= 1
            if isinstance(message.error, _Stopped):
                continue  # the error that stopped it follows
            if message.error is not None:
                raise message.error
            yield message.item, message.value
            del message
    finally:
        team.stop()


class _Stopped(BaseException):
    """The work on an item was abandoned."""


class _Event:
    def __init__(self, value: Any):
        self.value = value


class _Done:
    def __init__(self, item: Any, value: Any = None, error: BaseException | None = None):
        self.item, self.value, self.error = item, value, error


class _Team(Generic[S]):
    """The threads, which are started as items are given."""

    def __init__(self, function: Callable[[S, Any, Report], Any], states: Sequence[S]):
        self._function, self._states = function, list(states)
        self._items: SimpleQueue[tuple[Any] | None] = SimpleQueue()
        self.messages: SimpleQueue[_Event | _Done] = SimpleQueue()
        self.size = len(self._states)
        self._started, self._ended, self._stopping = 0, threading.Semaphore(0), False

    def give(self, item: Any) -> None:
        """Hand over an item."""
        self._items.put((item,))
        if self._started < self.size:
            # Daemons, so that an interpreter that ends without closing the generator does not wait for them.
            state = self._states[self._started]
            threading.Thread(target=self._run, args=(state,), name="toolkit-part", daemon=True).start()
            self._started += 1

    def stop(self) -> None:
        """End the threads, and wait until they have, for they may be writing files. Ctrl-C does not wait."""
        self._stopping = True
        for _ in range(self._started):
            self._items.put(None)
        for _ in range(self._started):
            self._ended.acquire()

    def _run(self, state: S) -> None:
        try:
            while (given := self._items.get()) is not None and not self._stopping:
                self.messages.put(self._done(state, given[0]))
        finally:
            self._ended.release()

    def _done(self, state: S, item: Any) -> _Done:
        try:
            return _Done(item, self._function(state, item, self._report))
        except BaseException as error:
            self._stopping = True  # the items that wait are not begun
            return _Done(item, error=error)

    def _report(self, event: Any) -> None:
        if self._stopping:
            raise _Stopped
        self.messages.put(_Event(event))
