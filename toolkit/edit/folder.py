"""A folder of videos, one after the other, with models that are loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.output.names import comparison_name, preview_name, result_name
from toolkit.edit.report import EditObserver, EditReport
from toolkit.edit.video import edit_in_session, finished_report, open_session
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

    The results have the same names in `target`. Interrupted runs resume when they are repeated: videos that were
    finished with the same settings are not edited again.

    Args:
        source: folder of videos.
        target: folder of the results; created if it does not exist.
        config: removers and settings.
        observer: follows the progress.

    Raises:
        UsageError: source and target are one folder, or two videos would have the same name.
        InputError: the folder does not exist, or holds no video.
        ToolkitError: as for `edit_video`, for reasons that do not depend on the video.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    observer = observer or EditObserver()
    source, target = Path(source), Path(target)
    jobs = plan(source, target, config.writing)
    session, report = open_session(config), FolderReport()
    for number, (video, result) in enumerate(jobs, 1):
        observer.item(str(video), number, len(jobs))
        try:
            finished = finished_report(session, video, result)
            if finished is None:
                result.parent.mkdir(parents=True, exist_ok=True)
                finished = edit_in_session(session, video, result, observer)
            else:
                observer.finished(finished, result)
            report.done.append(finished)
        except (ToolkitError, OSError) as error:
            if not isinstance(error, ToolkitError):
                error = ToolkitError(f"expected to write {result}, but: {error.strerror}; check the access rights")
            report.failed.append((video, error))
            observer.failed(str(video), str(error))
    return report


def plan(source: Path, target: Path, writing: WritingConfig) -> Sequence[tuple[Path, Path]]:
    """The videos of a folder and the paths of their results.

    Raises:
        UsageError, InputError: as for `edit_videos`.
    """
    from toolkit.video.finding import find_videos

    if target.exists() and not target.is_dir():
        raise UsageError(f"{source} is a folder, so the output must be one too, but {target} is a file")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the folder of the videos itself; name another one for the results")
    jobs: list[tuple[Path, Path]] = []
    taken: dict[Path, Path] = {}
    within = target.resolve().is_relative_to(source.resolve())
    for video, name in find_videos([source]):
        if within and video.is_relative_to(target.resolve()):
            continue  # a result of an earlier run
        result = target / result_name(name, writing.lossless)
        output = preview_name(result) if writing.preview else result
        for path in (output, comparison_name(output)) if writing.compare else (output,):
            if path in taken:
                raise UsageError(f"{taken[path]} and {video} would both become {path}; rename one of them")
            taken[path] = video
        jobs.append((video, result))
    return jobs
