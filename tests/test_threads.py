"""Work in threads: results, events and errors arrive where the work was asked for, and nothing runs on after it."""

import threading
import time
from contextlib import closing

import pytest

from toolkit.threads import in_threads


def doubled(state, item, report):
    report((state, item))
    return 2 * item


@pytest.mark.parametrize("states", [["a"], ["a", "b"], list("abcdefgh")])
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_each_item_comes_back_with_its_result(states, count):
    events = []
    found = dict(in_threads(doubled, range(count), states, events.append))
    assert found == {item: 2 * item for item in range(count)}
    assert sorted(item for _, item in events) == list(range(count))
    assert {state for state, _ in events} <= set(states)


def test_one_state_works_in_the_callers_thread_and_in_order():
    threads, events = [], []

    def noted(state, item, report):
        threads.append(threading.current_thread())
        report(item)
        return item

    assert list(in_threads(noted, [3, 1, 2], [None], events.append)) == [(3, 3), (1, 1), (2, 2)]
    assert events == [3, 1, 2]
    assert set(threads) == {threading.current_thread()}


def test_no_thread_shares_its_state_and_items_run_side_by_side():
    meeting = threading.Barrier(3)
    busy = {"a": threading.Lock(), "b": threading.Lock(), "c": threading.Lock()}

    def met(state, item, report):
        with busy[state]:
            assert not meeting.broken
            meeting.wait(timeout=60)  # only if three items run at once does anybody get past this
            return threading.get_ident()

    found = list(in_threads(met, range(6), list(busy)))
    assert len({ident for _, ident in found}) == 3


def test_items_and_events_are_handled_in_the_callers_thread_and_few_items_are_pulled_ahead():
    here, pulled, done = threading.get_ident(), [], 0

    def items():
        for k in range(30):
            assert threading.get_ident() == here
            pulled.append(k)
            yield k

    def on_event(event):
        assert threading.get_ident() == here

    for _ in in_threads(doubled, items(), ["a", "b"], on_event):
        done += 1
        assert len(pulled) <= done + 3
    assert done == 30


def test_no_more_threads_than_items():
    threads = set()

    def noted(state, item, report):
        threads.add(state)

    list(in_threads(noted, [1, 2], list(range(16))))
    assert threads <= {0, 1}


@pytest.mark.parametrize("states", [["a"], ["a", "b", "c"]])
def test_an_error_keeps_its_type_and_stops_the_others_at_their_next_event(states):
    ended = []

    def failing(state, item, report):
        if item == 3:
            raise MemoryError("of item 3")
        if item > 3:
            try:
                while True:
                    report(item)
                    time.sleep(0.001)
            finally:
                ended.append(item)

    before = threading.active_count()
    with pytest.raises(MemoryError, match="of item 3"):
        list(in_threads(failing, range(100), states))
    assert threading.active_count() == before
    assert len(ended) <= 2


def test_closing_stops_the_threads():
    ended = []

    def endless(state, item, report):
        try:
            while item:
                report(item)
                time.sleep(0.001)
        finally:
            ended.append(item)

    before = threading.active_count()
    with closing(in_threads(endless, [0, 1, 2], ["a", "b"])) as results:
        assert next(results) == (0, None)
    assert threading.active_count() == before
    assert 0 in ended and len(ended) >= 2


def test_an_error_of_the_items_or_of_the_observer_stops_the_threads():
    def items():
        yield 1
        raise OSError("the disk is full")

    def refuse(event):
        raise ValueError("the observer")

    before = threading.active_count()
    with pytest.raises(OSError, match="disk"):
        list(in_threads(doubled, items(), ["a", "b"]))
    with pytest.raises(ValueError, match="observer"):
        list(in_threads(doubled, [1, 2], ["a", "b"], refuse))
    assert threading.active_count() == before
