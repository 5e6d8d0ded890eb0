"""Runs an iterator ahead of its consumer in a thread, so that stages of work overlap."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Generator, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


def prefetched(iterable: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Compute the items of an iterable in a thread while earlier ones are used.

    Items, their order and errors are those of the iterable. It pays where both sides spend their time in native code
    that releases the GIL, as decoders, encoders, OpenCV and networks do. The iterable is only touched by the thread:
    what it uses must not be used elsewhere until it ends or is closed, and settings of the consumer's thread, such as
    `torch.no_grad`, do not hold in it.

    Close the generator when it is not used up, for example with `contextlib.closing`: this waits until the item that
    is being computed is complete, closes the iterable, and ends the thread. An error or Ctrl-C in the consumer then
    leaves nothing behind::

        with closing(prefetched(read_frames(path))) as frames:
            for frame in frames:
                ...

    Args:
        iterable: runs in the thread; iteration begins at the consumer's first request. If it is a generator, it is
            closed with this one.
        depth: number of items that may wait, at least 1; the memory that they need is the cost.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"expected depth to be at least 1, found {depth}")
    return _items(iterable, depth)


def _items(iterable: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    work = _Work(iterable, depth)
    try:
        work.start()
        yield from work.items()
    finally:
        work.stop()


class _Work(Generic[Item]):
    """The thread and what it shares with the consumer. The thread must not know the consumer's generator: while it
    did, a generator that nobody uses any more would never be closed."""

    def __init__(self, iterable: Iterable[Item], depth: int):
        self._iterable = iterable
        self._free = threading.Semaphore(depth)  # places for items that wait
        self._done: SimpleQueue[tuple[bool, Any]] = SimpleQueue()  # an item, or how the iterable ended
        self._stopping = False
        self._ended = threading.Event()
        self._closing_error: BaseException | None = None
        context = contextvars.copy_context()
        # A daemon, so that an interpreter that ends without closing generators does not wait for it.
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="prefetched", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def items(self) -> Iterator[Item]:
        while True:
            is_item, value = self._done.get()
            if not is_item:
                break
            self._free.release()
            yield value
            del value  # not held while waiting for the next
        if value is not None:
            try:
                raise value
            finally:
                del value  # its traceback holds this frame

    def stop(self) -> None:
        """End the thread, and raise the error with which the iterable was closed.

        Python reacts to Ctrl-C only after the thread has ended: it may be writing a file.
        """
        self._stopping = True
        self._free.release()
        if self._thread is threading.current_thread():
            return  # the garbage collector runs in any thread
        interruption: BaseException | None = None
        # Not `join`: once it was interrupted, Python 3.11 takes the thread for ended.
        while self._thread.is_alive() and not self._ended.is_set():
            try:
                self._ended.wait()
            except KeyboardInterrupt as error:
                interruption = error
        if self._ended.is_set():
            self._thread.join()
        if interruption is not None:
            raise interruption
        if self._closing_error is not None:
            raise self._closing_error

    def _run(self) -> None:
        try:
            iterator = iter(self._iterable)
            while self._next(iterator):
                pass
        except BaseException as error:
            self._done.put((False, error))
        else:
            self._done.put((False, None))
        finally:
            self._ended.set()

    def _next(self, iterator: Iterator[Item]) -> bool:
        """Compute one item; False at the end."""
        self._free.acquire()
        if self._stopping:
            self._close(iterator)
            return False
        try:
            item = next(iterator)
        except StopIteration:
            return False
        self._done.put((True, item))
        return True

    def _close(self, iterator: Iterator[Item]) -> None:
        close = getattr(iterator, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._closing_error = error
