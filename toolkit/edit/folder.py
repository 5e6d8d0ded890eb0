"""A folder of videos: one after the other here, or several at once in processes; models are loaded once in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.output.checks import plan_folder_result
from toolkit.edit.output.names import FolderName, folder_names
from toolkit.edit.report import EditObserver, EditReport
from toolkit.edit.session import Session
from toolkit.edit.video import earlier_report, edit_in_session, open_session, work_folder
from toolkit.edit.workspace import clear
from toolkit.errors import ToolkitError, UsageError
from toolkit.executor import ProcessExecutor
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.words import counted


@dataclass
class FolderReport:
    """What was done to the videos of a folder.

    Attributes:
        done: reports of the videos that were edited or copied, now or by an earlier run.
        failed: the other videos, each with the reason.
    """

    done: list[EditReport] = field(default_factory=list)
    failed: list[tuple[Path, ToolkitError]] = field(default_factory=list)


def edit_videos(
    source: str | Path, target: str | Path, config: EditConfig, observer: EditObserver | None = None
) -> FolderReport:
    """Edit all videos in a folder and its sub-folders; a failure does not stop the others.

    The results have the same names in `target`, with the suffix of a container that holds their streams; videos of one
    name but for the suffix get names that tell them apart. A video in which nothing is edited is copied byte by byte.
    Interrupted runs resume when they are repeated: videos that were finished with the same settings are not edited
    again.

    With several `EditConfig.workers`, videos are edited at once in processes; if one of these dies, its video fails.
    Processes are spawned, so a script that calls this function needs an ``if __name__ == "__main__"`` guard.

    Args:
        source: folder of videos.
        target: folder of the results; created if it does not exist.
        config: removers and settings.
        observer: follows the progress.

    Raises:
        UsageError: source and target are one folder.
        InputError: the folder does not exist, or holds no video.
        ToolkitError: as for `edit_video`, for reasons that do not depend on the video.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    observer = observer or EditObserver()
    source, target = Path(source), Path(target)
    videos = plan(source, target, config.writing, observer)
    jobs = [_Job(number, video, target, name) for number, (video, name) in enumerate(videos, 1)]
    session, results = open_session(config), _Results(len(jobs), observer)
    with termination_interrupts(RESUMES):
        waiting = [job for job in jobs if not results.add_finished(session, job)]
        if session.workers > 1 and len(waiting) > 1:
            _edit_in_processes(session, waiting, results)
        else:
            for job in waiting:
                observer.item(str(job.video), job.number, len(jobs))
                try:
                    results.add(job, _edit(session, job, observer))
                except ToolkitError as error:
                    results.fail(job, error)
    return results.report()


@dataclass(frozen=True)
class _Job:
    """A video, and what its results are called.

    Attributes:
        number: its place in the folder, from 1.
        target: folder of the results.
    """

    number: int
    video: Path
    target: Path
    name: FolderName


class _Results:
    """What became of the videos, in the order of the folder."""

    def __init__(self, count: int, observer: EditObserver):
        self.count, self.observer = count, observer
        self._done: dict[int, EditReport] = {}
        self._failed: dict[int, tuple[Path, ToolkitError]] = {}

    def add_finished(self, session: Session, job: _Job) -> bool:
        """Add a video that an earlier run finished; False if none did."""
        finished = earlier_report(session, job.video, job.name.paths(job.target, session.config.writing))
        if finished is None:
            return False
        report, path = finished
        clear(work_folder(session, path))  # a run that ended just before its last step left it
        self.observer.item(str(job.video), job.number, self.count)
        self.add(job, report)
        self.observer.finished(report, path)
        return True

    def add(self, job: _Job, report: EditReport) -> None:
        """Add a video that is complete."""
        self._done[job.number] = report

    def fail(self, job: _Job, error: ToolkitError) -> None:
        """Add a video that is not, and tell."""
        self._failed[job.number] = job.video, error
        self.observer.failed(str(job.video), str(error))

    def report(self) -> FolderReport:
        """All of them."""
        done = [self._done[number] for number in sorted(self._done)]
        return FolderReport(done, [self._failed[number] for number in sorted(self._failed)])


def _edit(session: Session, job: _Job, observer: EditObserver) -> EditReport:
    try:
        carrying = plan_folder_result(job.video, job.name.suffixes, session.config.writing)
        result, copy = job.target / f"{job.name.stem}{carrying.suffix}", job.target / job.name.copy
        result.parent.mkdir(parents=True, exist_ok=True)
        return edit_in_session(session, job.video, result, observer, carrying=carrying, copy=copy)
    except OSError as error:
        if isinstance(error, ToolkitError):
            raise
        raise ToolkitError(
            f"expected to write to {job.target}, but: {error.strerror}; check the access rights"
        ) from error


def _edit_in_processes(session: Session, jobs: Sequence[_Job], results: _Results) -> None:
    """Edit several videos at once. What is said about each of them comes together, once it is complete."""
    processes = min(session.workers, len(jobs))
    progress = _Progress(jobs, processes, results.observer)
    said: dict[int, list[_Call]] = {}

    def hear(job: _Job, call: _Call) -> None:
        if call[0] == "phase":
            progress.phase(job.number, *call[1])
        elif call[0] == "advance":
            progress.advance(job.number, call[1][0])
        else:
            said.setdefault(job.number, []).append(call)

    # The largest first, so that no worker is left alone with a long one at the end.
    ordered = sorted(jobs, key=lambda job: -progress.sizes[job.number])
    # With the threads of libraries that a single process would have, for their number shows in the last bits.
    executor = ProcessExecutor(processes, threads=None)
    worker = _Worker(session.config, threads=session.workers // processes)
    with closing(executor.run(worker, ordered, hear)) as outcomes:
        for outcome in outcomes:
            job, observer = outcome.item, results.observer
            observer.item(str(job.video), job.number, results.count)
            for name, arguments in said.pop(job.number, []):
                getattr(observer, name)(*arguments)
            if outcome.details:
                observer.bug(str(job.video), outcome.details)
            if outcome.error is None:
                results.add(job, outcome.value)
            else:
                results.fail(job, outcome.error)
            progress.ended(job.number)


_Call = tuple[str, tuple[Any, ...]]
"""A method of an observer, and its arguments."""


class _Worker:
    """Edits videos in a worker process, with a session that lives as long as the process.

    Args:
        config: the settings.
        threads: that work on a video.
    """

    def __init__(self, config: EditConfig, threads: int):
        self._config, self._threads = config, threads
        self._session: Session | None = None

    def __call__(self, job: _Job, report: Callable[[_Call], None]) -> EditReport:
        self._session = self._session or Session(self._config, self._threads)
        return _edit(self._session, job, _Messenger(report))


class _Messenger(EditObserver):
    """Sends what it hears."""

    def __init__(self, send: Callable[[_Call], None]):
        self._send = send

    def phase(self, name: str, total: int | None, unit: str, done: int = 0) -> None:
        self._send(("phase", (name, total, done)))

    def advance(self, done: int, **figures: float) -> None:
        self._send(("advance", (done,)))

    def note(self, sentence: str) -> None:
        self._send(("note", (sentence,)))

    def warning(self, sentence: str) -> None:
        self._send(("warning", (sentence,)))

    def finished(self, report: EditReport, target: Path) -> None:
        self._send(("finished", (report, target)))


class _Progress:
    """One bar for all videos, in percent of their bytes."""

    PHASES = ("finding faces", "editing", "writing")
    SHARES = (0.2, 0.65, 0.15)
    """Of a video's time that its phases take, roughly."""

    def __init__(self, jobs: Iterable[_Job], processes: int, observer: EditObserver):
        self.sizes = {job.number: max(_size(job.video), 1) for job in jobs}
        self._done = dict.fromkeys(self.sizes, 0.0)
        self._phases: dict[int, tuple[int, int]] = {}
        self._observer = observer
        observer.phase(f"editing {counted(len(self.sizes), 'videos')}, {processes} at once", 100, "%")

    def phase(self, number: int, name: str, total: int | None, done: int) -> None:
        """A phase of a video begins."""
        self._phases[number] = self.PHASES.index(name), total or 0
        self.advance(number, done)

    def advance(self, number: int, done: int) -> None:
        """Part of a video's phase is done."""
        index, total = self._phases[number]
        share = min(done / total, 1) if total else 0
        self._set(number, sum(self.SHARES[:index]) + share * self.SHARES[index])

    def ended(self, number: int) -> None:
        """A video is complete, or failed."""
        self._set(number, 1)

    def _set(self, number: int, done: float) -> None:
        self._done[number] = done
        complete = sum(self.sizes[number] * share for number, share in self._done.items())
        self._observer.advance(int(100 * complete / sum(self.sizes.values())))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # its edit says why


def plan(
    source: Path, target: Path, writing: WritingConfig, observer: EditObserver
) -> Sequence[tuple[Path, FolderName]]:
    """The videos of a folder and the names of their results.

    Raises:
        UsageError, InputError: as for `edit_videos`.
    """
    from toolkit.video.finding import find_videos

    if target.exists() and not target.is_dir():
        raise UsageError(f"{source} is a folder, so the output must be one too, but {target} is a file")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the folder of the videos itself; name another one for the results")
    within = target.resolve().is_relative_to(source.resolve())
    found = [
        (video, name)
        for video, name in find_videos([source], tell=observer.note)
        if not (within and video.is_relative_to(target.resolve()))  # not the results of an earlier run
    ]
    names = folder_names([name for _, name in found], writing)
    return [(video, name) for (video, _), name in zip(found, names, strict=True)]
