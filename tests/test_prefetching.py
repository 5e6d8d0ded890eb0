"""An iterator that runs ahead in a thread gives what it gives without one, and leaves nothing behind."""

import contextvars
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import closing

import numpy as np
import pytest

from toolkit.prefetching import prefetched


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert [thread for thread in threading.enumerate() if thread not in before and thread.name == "prefetched"] == []


@pytest.fixture
def interruptible():
    """A runner in the background ignores Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


class Source:
    """A generator that remembers what became of it.

    Args:
        count: items, from 0; None is without end.
        error: raised after them.
        closing: raised when it is closed.
    """

    def __init__(self, count=None, error=None, closing=None):
        self.computed, self.ended, self.thread, self._closing = 0, False, None, closing
        self.items = self._items(count, error)

    def _items(self, count, error):
        try:
            while count is None or self.computed < count:
                self.computed += 1
                yield self.computed - 1
            if error is not None:
                raise error
        except GeneratorExit:
            if self._closing is not None:
                raise self._closing from None
            raise
        finally:
            self.ended, self.thread = True, threading.current_thread()


@pytest.mark.parametrize("depth", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_items_and_their_order(count, depth):
    assert list(prefetched(iter(range(count)), depth)) == list(range(count))
    assert list(prefetched(range(count), depth)) == list(range(count))


def test_order_whatever_the_timing():
    rng = random.Random(0)

    def slow(items):
        for item in items:
            time.sleep(rng.random() / 500)
            yield item

    assert list(slow(prefetched(slow(range(60)), 3))) == list(range(60))


def test_stages_may_be_chained():
    first = prefetched(range(100), 2)
    second = prefetched((item * 2 for item in first), 2)
    assert list(prefetched((item + 1 for item in second), 2)) == list(range(1, 201, 2))


def test_none_is_an_item():
    assert list(prefetched([None, 1, None])) == [None, 1, None]


def test_both_sides_work_at_the_same_time():
    met = threading.Barrier(2, timeout=10)

    def source():
        yield 0
        met.wait()
        yield 1

    with closing(prefetched(source(), 1)) as items:
        assert next(items) == 0
        met.wait()  # while the thread computes the next item
        assert list(items) == [1]


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_depth_items_are_computed_ahead(depth):
    source = Source()
    with closing(prefetched(source.items, depth)) as items:
        for used in range(1, 10):
            next(items)
            deadline = time.monotonic() + 5
            while source.computed < used + depth and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.005)
            assert source.computed == used + depth


def test_nothing_is_computed_before_the_first_request():
    source = Source(3)
    items = prefetched(source.items)
    assert source.computed == 0
    items.close()
    assert source.computed == 0


def test_a_used_item_is_not_held():
    def source():
        for _ in range(3):
            yield np.zeros(4)

    with closing(prefetched(source(), 1)) as items:
        held = weakref.ref(next(items))
        next(items)
        gc.collect()
        assert held() is None


@pytest.mark.parametrize("depth", [0, -1])
def test_depth_must_be_positive(depth):
    with pytest.raises(ValueError, match="depth"):
        prefetched([], depth)


@pytest.mark.parametrize("error", [ValueError("damaged"), KeyboardInterrupt("stop"), SystemExit(3), MemoryError()])
@pytest.mark.parametrize("count", [0, 5])
def test_an_error_comes_after_the_items_before_it(count, error):
    source, found = Source(count, error), []
    with pytest.raises(type(error)) as raised:
        for item in prefetched(source.items, 2):
            found.append(item)
    assert raised.value is error and found == list(range(count)) and source.ended


def test_the_traceback_shows_where_the_error_arose():
    def broken():
        yield 1
        raise ValueError("here")

    with pytest.raises(ValueError) as raised:
        list(prefetched(broken()))
    assert any(entry.name == "broken" for entry in raised.traceback)


def test_an_iterable_that_cannot_begin():
    class Broken:
        def __iter__(self):
            raise OSError("cannot begin")

    with pytest.raises(OSError, match="cannot begin"):
        list(prefetched(Broken()))


def test_the_end_stays_the_end():
    items = prefetched(range(2))
    assert list(items) == [0, 1] and list(items) == []


@pytest.mark.parametrize("used", [1, 2, 10])
def test_closing_closes_the_iterable_in_its_thread(used):
    source = Source()
    items = prefetched(source.items, 3)
    for _ in range(used):
        next(items)
    items.close()
    assert source.ended and source.thread is not threading.current_thread()
    items.close()
    assert list(items) == []


def test_closing_waits_for_the_item_that_is_computed():
    computing, finished = threading.Event(), []

    def source():
        yield 0
        computing.set()
        time.sleep(0.1)
        finished.append(True)
        yield 1

    items = prefetched(source(), 2)
    next(items)
    computing.wait(10)
    items.close()
    assert finished == [True]


def test_an_iterable_without_close():
    items = prefetched(iter([1, 2, 3]), 1)
    assert next(items) == 1
    items.close()


def test_an_error_while_closing_arrives():
    source = Source(closing=OSError("disk full"))
    items = prefetched(source.items, 2)
    next(items)
    with pytest.raises(OSError, match="disk full"):
        items.close()


def test_an_error_in_an_item_that_nobody_asked_for_does_not_arrive():
    failed = threading.Event()

    def source():
        yield 0
        failed.set()
        raise ValueError("not asked for")

    items = prefetched(source(), 2)
    assert next(items) == 0
    failed.wait(10)
    items.close()


def test_an_error_of_the_consumer_ends_the_thread():
    source = Source()
    with pytest.raises(ZeroDivisionError), closing(prefetched(source.items)) as items:
        for _ in items:
            1 / 0  # noqa: B018
    assert source.ended


def test_a_generator_that_is_dropped_ends_its_thread():
    source = Source()
    items = prefetched(source.items)
    next(items)
    del items
    gc.collect()
    assert source.ended


def test_a_chain_is_closed_from_its_end():
    sources = [Source()]

    def doubled(items):
        with closing(items):
            for item in items:
                yield 2 * item

    items = prefetched(doubled(prefetched(sources[0].items, 2)), 2)
    assert [next(items) for _ in range(3)] == [0, 2, 4]
    items.close()
    assert sources[0].ended


def test_context_variables_hold_in_the_thread():
    name = contextvars.ContextVar("name")
    name.set("set before")
    assert list(prefetched(name.get() for _ in range(2))) == ["set before"] * 2


def test_interruption_while_waiting(interruptible):
    source = Source(1)

    def slow():
        try:
            yield from source.items
            for _ in range(100):
                time.sleep(0.01)
                yield 1
        finally:
            source.ended = "closed"

    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), closing(prefetched(slow(), 1)) as items:
        for _ in items:
            pass
    assert source.ended == "closed"


def test_interruption_of_the_consumer(interruptible):
    source = Source()
    with pytest.raises(KeyboardInterrupt), closing(prefetched(source.items, 2)) as items:
        for item in items:
            if item == 3:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
    assert source.ended


def test_interruption_while_closing(interruptible):
    computing = threading.Event()
    finished = []

    def source():
        yield 0
        computing.set()
        time.sleep(0.3)
        finished.append(True)
        yield 1

    items = prefetched(source(), 1)
    next(items)
    computing.wait(10)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        items.close()
    assert finished == [True]


def test_a_program_ends_without_closing():
    program = (
        "import itertools, time\nfrom toolkit.prefetching import prefetched\n"
        "def slow():\n    for k in itertools.count():\n        time.sleep(0.01)\n        yield k\n"
        "items = prefetched(slow())\nprint(next(items), next(items))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0 1\n", "")
