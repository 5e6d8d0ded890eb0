"""Progress on the console: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from toolkit.cli.console import err
from toolkit.progress import Observer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_SECONDS = 30
"""Time between two lines of progress when the output is not a terminal."""


class ConsoleObserver(Observer):
    """Shows progress, and prints notes, warnings and failures above it, all on stderr.

    A command derives its own observer from this class and from the command's `Observer`, in this order. Use it as a
    context manager, so that the bar disappears when the command ends. An observer that works inside another shares its
    bar: ``ConsoleObserver(outer.bar)``.
    """

    def __init__(self, bar: Bar | None = None) -> None:
        self.bar = bar or Bar()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, sentence: str) -> None:
        """Print a line above the bar."""
        err.print(sentence, soft_wrap=True)

    def phase(self, name: str, total: int | None, unit: str, done: int = 0) -> None:
        self.bar.phase(name, total, unit, done)

    def advance(self, done: int, **figures: float) -> None:
        self.bar.advance(done, **figures)

    def item(self, name: str, number: int, count: int) -> None:
        self.say(f"{number} of {count}: {name}")

    def note(self, sentence: str) -> None:
        self.say(sentence)

    def warning(self, sentence: str) -> None:
        self.say(f"warning: {sentence}")

    def failed(self, name: str, sentence: str) -> None:
        self.say(f"failed: {name}: {' '.join(sentence.split())}")

    def bug(self, name: str, details: str) -> None:
        self.say(f"unexpected error with {name}:\n{details}")


class Bar:
    """The phase that is running: a rich bar on a terminal, a line every `LINE_SECONDS` elsewhere.

    Nothing is drawn before the first phase, so a process that reports nothing leaves the terminal alone.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._name, self._unit = "", ""
        self._total: int | None = None
        self._first: int | None = None
        self._begun = self._printed = time.monotonic()

    def phase(self, name: str, total: int | None, unit: str, done: int = 0) -> None:
        """Begin a phase; see `Observer.phase`."""
        self._name, self._total, self._unit, self._first = name, total, unit, None
        self._begun = time.monotonic()
        if not err.is_terminal:
            return
        if self._progress is None:
            self._progress = _progress()
            self._task = self._progress.add_task(name, unit=unit, figures="")
            self._progress.start()
        assert self._task is not None
        self._progress.reset(self._task, total=total, completed=done, description=name, unit=unit, figures="")

    def advance(self, done: int, **figures: float) -> None:
        """Show how much of the phase is done; see `Observer.advance`."""
        now = time.monotonic()
        if self._first is None:
            # The first report includes loading, or what an earlier run did, so the pace counts from here.
            self._first, self._begun = done, now
        speed = (done - self._first) / max(now - self._begun, 1e-9)
        shown = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]
        if self._progress is not None and self._task is not None:
            text = "  ".join([*shown, f"{speed:.3g} {self._unit}/s" if speed > 0 else ""])
            self._progress.update(self._task, completed=done, figures=text)
        elif not err.is_terminal and now - self._printed >= LINE_SECONDS:
            self._printed = now
            err.print(", ".join([self._count(done), *shown, *self._pace(done, speed)]), soft_wrap=True)

    def stop(self) -> None:
        """Remove the bar."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _count(self, done: int) -> str:
        total = "" if self._total is None else f" of {self._total}"
        return f"{self._name}: {done}{total} {self._unit}"

    def _pace(self, done: int, speed: float) -> list[str]:
        if speed <= 0:
            return []
        pace = [f"{speed:.3g} {self._unit}/s"]
        if self._total is not None:
            pace.append(f"{math.ceil((self._total - done) / speed / 60)} min left")
        return pace


def _progress() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[Any] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    ]
    return Progress(*columns, console=err, transient=True)
