"""Progress on the console: lines elsewhere than on a terminal, a bar on one, messages above it."""

import io

import pytest
from rich.console import Console

from toolkit.cli import progress
from toolkit.cli.progress import ConsoleObserver
from toolkit.progress import Observer


@pytest.fixture
def clock(monkeypatch):
    """The time that the bar reads, in seconds; a test sets ``clock.now``."""

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    return fake


@pytest.fixture
def terminal(monkeypatch):
    """``terminal(True)`` puts a terminal in the place of stderr, ``terminal(False)`` a pipe; its text is returned."""

    def put(is_terminal):
        text = io.StringIO()
        console = Console(file=text, force_terminal=is_terminal, width=160, markup=False, highlight=False)
        monkeypatch.setattr(progress, "err", console)
        return text

    return put


def test_a_line_every_half_minute_off_a_terminal(clock, terminal):
    text = terminal(False)
    with ConsoleObserver() as observer:
        observer.phase("removing", 200, "frames")
        clock.now = 5
        observer.advance(20)
        for second in range(6, 66):
            clock.now = second
            observer.advance(20 + second - 5, loss=0.51234567)
    assert text.getvalue().splitlines() == [
        "removing: 45 of 200 frames, loss 0.5123, 1 frames/s, 3 min left",
        "removing: 75 of 200 frames, loss 0.5123, 1 frames/s, 3 min left",
    ]


def test_short_work_prints_no_progress_off_a_terminal(clock, terminal):
    text = terminal(False)
    with ConsoleObserver() as observer:
        observer.phase("removing", 3, "frames")
        for done in range(4):
            observer.advance(done)
    assert text.getvalue() == ""


def test_an_unknown_total_has_no_time_left(clock, terminal):
    text = terminal(False)
    observer = ConsoleObserver()
    observer.phase("checking", None, "pictures")
    observer.advance(0)
    clock.now = 40
    observer.advance(80)
    assert text.getvalue() == "checking: 80 pictures, 2 pictures/s\n"


def test_a_resumed_phase_does_not_count_the_earlier_run_in_its_pace(clock, terminal):
    text = terminal(False)
    observer = ConsoleObserver()
    observer.phase("training", 1000, "steps", done=900)
    observer.advance(901)
    clock.now = 50
    observer.advance(951)
    assert "1 steps/s, 1 min left" in text.getvalue()


def test_a_bar_on_a_terminal(terminal):
    text = terminal(True)
    with ConsoleObserver() as observer:
        observer.phase("removing", 8, "frames")
        observer.advance(4, loss=0.25)
        observer.note("half of it")
    shown = text.getvalue()
    assert "removing" in shown and "4/8" in shown and "loss 0.25" in shown and "half of it" in shown


def test_nothing_is_drawn_before_the_first_phase(terminal):
    text = terminal(True)
    with ConsoleObserver() as observer:
        observer.advance(1)
    assert text.getvalue() == ""


def test_messages(terminal):
    text = terminal(False)
    observer = ConsoleObserver()
    observer.item("a.mp4", 2, 3)
    observer.note("resuming from step 4")
    observer.warning("the face is blurred")
    observer.failed("b.mp4", "it cannot\n be read")
    observer.bug("c.mp4", "Traceback\n  line")
    assert text.getvalue().splitlines() == [
        "2 of 3: a.mp4",
        "resuming from step 4",
        "warning: the face is blurred",
        "failed: b.mp4: it cannot be read",
        "unexpected error with c.mp4:",
        "Traceback",
        "  line",
    ]


def test_observers_share_a_bar_and_add_to_a_command_s_own(clock, terminal):
    class Command(Observer):
        def finished(self, path: str) -> None:
            """A special of the command."""

    class Console(ConsoleObserver, Command):
        pass

    text = terminal(False)
    with Console() as outer:
        inner = ConsoleObserver(outer.bar)
        inner.phase("editing", 10, "frames")
        outer.advance(0)
        clock.now = 30
        inner.advance(1)
        outer.finished("x")
    assert text.getvalue().startswith("editing: 1 of 10 frames")
