"""The fixed parts that a track is edited in, for this process or others, and what is on disk of those that are done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import BaseModel

from toolkit.device import intra_op_threads
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.session import Session
from toolkit.files import read_json, write_json
from toolkit.threads import in_threads

PART = 16
"""Frames of a part: a multiple of the frames that go through the VAE together. No result depends on it; the smaller it
is, the less workers wait for the last one."""

STAGES = {"masks": "masks", "output": "networks", "weights": "paste weights"}
"""The stage of the report that each kind of work belongs to."""

Advance = Callable[[int], object]
"""Called with the number of windows that were denoised since the last call."""


@dataclass(frozen=True, eq=False)
class Part:
    """Frames of a track, for one remover. Can be pickled.

    Attributes:
        folder: of the track's pictures.
        side: of the crops in pixels.
        index: of the remover.
        start, stop: the first frame, and the one after the last.
    """

    folder: Path
    side: int
    index: int
    start: int
    stop: int

    @property
    def single(self) -> bool:
        """Whether networks look across its frames, so that it has the process for itself."""
        return False

    @contextmanager
    def opened(self) -> Iterator[TrackStores]:
        """The track's pictures; what was written survives a power cut afterwards."""
        stores = TrackStores(self.folder, self.side)
        try:
            yield stores
            stores.flush()
        finally:
            stores.close()

    def record(self, kind: str) -> Path:
        """The file with the result of one kind of work on this part, which exists once the work is done."""
        return self.folder / f"parts-{self.index}" / f"{kind}-{self.start}.json"


P = TypeVar("P", bound=Part)
R = TypeVar("R")
M = TypeVar("M", bound=BaseModel)


class Run(Protocol):
    """Applies a function to parts, in any order and in any process."""

    def __call__(
        self, function: Callable[[Session, P, Advance], R], parts: Iterable[P]
    ) -> Generator[tuple[P, R], None, None]:
        """Yield each part with the function's result.

        Args:
            function: a module-level function.
            parts: pulled when there is room for the next one.
        """
        ...


def side_by_side(session: Session, advance: Advance) -> Run:
    """A `Run` in threads of this process, as many as the session's `workers`.

    Args:
        session: of this thread.
        advance: called in this thread.
    """

    def run(function: Callable[[Session, P, Advance], R], parts: Iterable[P]) -> Generator[tuple[P, R], None, None]:
        iterator = iter(parts)
        first = next(iterator, None)
        if first is None:
            return
        # One thread in each operation, for every number of workers: the last bits of a result depend on it, and two
        # parts with a thread each need half the CPU time of one part with two.
        crew, threads = ([session], None) if first.single else (session.crew, 1)
        results = in_threads(function, chain([first], iterator), crew, advance)
        with intra_op_threads(threads), closing(results):
            yield from results

    return run


def mapped(
    run: Run, kind: str, function: Callable[[Session, P, Advance], M], result: type[M], parts: Iterable[P]
) -> Generator[M, None, None]:
    """Results of a function for parts, in any order. Those that an interrupted run stored are only read.

    Args:
        run: how parts are worked on.
        kind: name of the work, for files and for the session's clock.
        function: returns a `result`; what it wrote must survive a power cut.
    """
    done: list[M] = []

    def waiting() -> Iterator[P]:
        for part in parts:
            path = part.record(kind)
            if path.is_file():
                done.append(result.model_validate(read_json(path)))
            else:
                yield part

    with closing(run(partial(_timed, kind, function), waiting())) as results:
        for part, found in results:
            path = part.record(kind)
            path.parent.mkdir(exist_ok=True)
            write_json(path, found.model_dump(mode="json"), indent=None, durable=True)
            yield found
    yield from done


def _timed(kind: str, function: Callable[[Session, P, Advance], M], session: Session, part: P, advance: Advance) -> M:
    with session.clock.stage(STAGES[kind], pooled=part.single):
        return function(session, part, advance)


def cut(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """First frames of the parts of a stretch, and the ones after the last."""
    for first in range(start, stop, PART):
        yield first, min(first + PART, stop)
