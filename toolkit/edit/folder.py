"""A folder of videos, one after the other, with models that are loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.output.checks import plan_folder_result
from toolkit.edit.output.names import FolderName, folder_names
from toolkit.edit.report import EditObserver, EditReport
from toolkit.edit.session import Session
from toolkit.edit.video import earlier_report, edit_in_session, open_session, work_folder
from toolkit.edit.workspace import clear
from toolkit.errors import ToolkitError, UsageError


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
    jobs = plan(source, target, config.writing, observer)
    session, report = open_session(config), FolderReport()
    for number, (video, name) in enumerate(jobs, 1):
        observer.item(str(video), number, len(jobs))
        try:
            report.done.append(_edit(session, video, target, name, observer))
        except (ToolkitError, OSError) as error:
            if not isinstance(error, ToolkitError):
                error = ToolkitError(f"expected to write to {target}, but: {error.strerror}; check the access rights")
            report.failed.append((video, error))
            observer.failed(str(video), str(error))
    return report


def _edit(session: Session, video: Path, target: Path, name: FolderName, observer: EditObserver) -> EditReport:
    writing = session.config.writing
    finished = earlier_report(session, video, name.paths(target, writing))
    if finished is not None:
        report, path = finished
        clear(work_folder(session, path))  # a run that ended just before its last step left it
        observer.finished(report, path)
        return report
    carrying = plan_folder_result(video, name.suffixes, writing)
    result, copy = target / f"{name.stem}{carrying.suffix}", target / name.copy
    result.parent.mkdir(parents=True, exist_ok=True)
    return edit_in_session(session, video, result, observer, carrying=carrying, copy=copy)


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
