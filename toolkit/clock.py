"""Tells where the time of a long run goes: `StageClock` adds up wall and CPU time by stage.

A stage is named where its work is done; threads share a clock, and workers send theirs back::

    clock = StageClock()
    with clock.stage("masks"):
        masks = masker(clip)
    for frame in clock.timed("decoding", frames):
        ...
    clock.add(times_of_a_worker)  # `clock.times` of another process
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class StageTime(NamedTuple):
    """Time that a stage took, in seconds.

    Attributes:
        wall: passed while the stage ran, added over threads and workers. Stages that run side by side add up to more
            than the run takes.
        cpu: used by the threads that ran the stage.
    """

    wall: float = 0.0
    cpu: float = 0.0

    def __add__(self, other: Sequence[float]) -> StageTime:  # type: ignore[override]  # as numbers do
        return StageTime(self.wall + other[0], self.cpu + other[1])


class StageClock:
    """Adds up the time of stages. Threads may use it together.

    Where stages are nested in one thread, time belongs to the innermost, so that the sum counts nothing twice.
    """

    def __init__(self) -> None:
        self._times: dict[str, StageTime] = {}
        self._lock, self._thread = threading.Lock(), threading.local()

    @property
    def times(self) -> dict[str, StageTime]:
        """The time of each stage, in the order in which they were first left; may be pickled."""
        with self._lock:
            return dict(self._times)

    def add(self, times: Mapping[str, Sequence[float]]) -> None:
        """Add wall and CPU seconds by stage, such as those of a worker."""
        with self._lock:
            for name, spent in times.items():
                self._times[name] = self._times.get(name, StageTime()) + spent

    def reset(self) -> None:
        """Forget all times, as at the start of another video."""
        with self._lock:
            self._times.clear()

    @contextmanager
    def stage(self, name: str, pooled: bool = False) -> Iterator[None]:
        """Count the block's time for a stage. A generator must not yield in the block, see `timed`.

        Args:
            name: of the stage.
            pooled: count the CPU time of the whole process, for work in the threads of a library, such as a network
                or an encoder, if nothing else runs beside it. Otherwise that of this thread.
        """
        inner: list[StageTime] = getattr(self._thread, "inner", [])
        self._thread.inner = []  # the times of the stages in this one
        cpu = time.process_time if pooled else time.thread_time
        begin = time.perf_counter(), cpu()
        try:
            yield
        finally:
            wall, used = time.perf_counter() - begin[0], cpu() - begin[1]
            within = sum(self._thread.inner, StageTime())
            self.add({name: (max(wall - within.wall, 0.0), max(used - within.cpu, 0.0))})
            self._thread.inner = [*inner, StageTime(wall, used)]

    def timed(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items; the time that each takes to be made counts for a stage."""
        iterator = iter(items)
        try:
            while True:
                with self.stage(name):
                    try:
                        item = next(iterator)
                    except StopIteration:
                        return
                yield item
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
