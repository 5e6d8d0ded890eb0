"""Time is added up by stage, over threads, nested stages and workers."""

import pickle
import threading
import time

import pytest

from toolkit.clock import StageClock, StageTime


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_stages_add_up():
    clock = StageClock()
    for _ in range(2):
        with clock.stage("waiting"):
            time.sleep(0.02)
    with clock.stage("working"):
        busy(0.02)
    assert list(clock.times) == ["waiting", "working"]
    waiting, working = clock.times["waiting"], clock.times["working"]
    assert waiting.wall >= 0.04 and waiting.cpu < waiting.wall / 2
    # Wall and CPU time come from two clocks that differ by microseconds.
    assert working.cpu >= 0.02 and working.wall >= 0.019


def test_time_belongs_to_the_innermost_stage():
    clock = StageClock()
    with clock.stage("outer"):
        busy(0.02)
        for _ in range(2):
            with clock.stage("inner"), clock.stage("innermost"):
                busy(0.1)
    times = clock.times
    assert times["innermost"].cpu >= 0.2
    assert 0.02 <= times["outer"].cpu < 0.1 and times["inner"].cpu < 0.1


def test_an_error_is_counted_too():
    clock = StageClock()
    with pytest.raises(ValueError), clock.stage("broken"):
        busy(0.01)
        raise ValueError
    assert clock.times["broken"].cpu >= 0.01


def test_threads_share_a_clock():
    clock = StageClock()

    def work():
        for _ in range(200):
            with clock.stage("work"):
                time.sleep(1e-4)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    with clock.stage("beside"):
        for thread in threads:
            thread.join()
    assert clock.times["work"].wall >= 800 * 1e-4
    assert clock.times["beside"].wall > 0  # nothing of other threads is taken off


def test_cpu_time_of_other_threads_counts_where_it_is_asked_for():
    clock = StageClock()
    for name, pooled in (("own", False), ("all", True)):
        thread = threading.Thread(target=busy, args=(0.05,))
        with clock.stage(name, pooled=pooled):
            thread.start()
            thread.join()
    assert clock.times["own"].cpu < 0.05 <= clock.times["all"].cpu


def test_times_of_workers():
    clock, worker = StageClock(), StageClock()
    for one in (clock, worker):
        with one.stage("masks"):
            busy(0.01)
    own = clock.times["masks"]
    sent = pickle.loads(pickle.dumps(worker.times))
    clock.add(sent)
    clock.add({"other": [1.0, 0.5]})  # as read from JSON
    assert clock.times["masks"] == (own.wall + sent["masks"].wall, own.cpu + sent["masks"].cpu)
    assert clock.times["other"] == StageTime(1.0, 0.5)


def test_items_are_timed_and_their_consumer_is_not():
    clock, closed = StageClock(), []

    def items():
        try:
            for k in range(3):
                busy(0.01)
                yield k
        finally:
            closed.append(True)

    found, begin = [], time.perf_counter()
    for item in clock.timed("items", items()):
        time.sleep(0.1)
        found.append(item)
    assert found == [0, 1, 2] and clock.times["items"].cpu >= 0.03
    assert clock.times["items"].wall <= time.perf_counter() - begin - 0.3
    timed = clock.timed("items", items())
    next(timed)
    timed.close()
    assert closed == [True, True]


def test_a_clock_begins_anew():
    clock = StageClock()
    clock.add({"a": (1.0, 1.0)})
    clock.reset()
    assert clock.times == {}
