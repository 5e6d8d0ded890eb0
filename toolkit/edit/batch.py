"""A folder of videos: one after the other, with models that are loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.edit.check import comparison_name, preview_name
from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.report import EditObserver, EditReport
from toolkit.errors import ToolkitError, UsageError

KEPT = {False: (".mp4", ".mov", ".mkv"), True: (".mkv", ".mp4")}
"""Endings of names that stay, without and with `lossless`; a video of another kind gets the first."""


@dataclass
class BatchReport:
    """What became of a folder.

    Attributes:
        done: reports of the videos that were edited or copied, now or by an earlier run.
        failed: the others, each with the reason.
    """

    done: list[EditReport] = field(default_factory=list)
    failed: list[tuple[Path, ToolkitError]] = field(default_factory=list)


def edit_videos(
    source: str | Path, target: str | Path, config: EditConfig, observer: EditObserver | None = None
) -> BatchReport:
    """Edit all videos in a folder and below; what fails does not stop the others.

    The results have the same names below `target`. A run that was stopped is gone on with when it is repeated: videos
    that it finished with the same settings are not edited again.

    Args:
        source: folder of videos.
        target: folder of the results; made where it is missing.
        config: removers and settings.
        observer: is told how it goes.

    Raises:
        UsageError: source and target are one folder, or two videos would have one name.
        InputError: there is no such folder, or no video in it.
        ToolkitError: as for `edit_video`, of what does not depend on the video.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    from toolkit.edit.engine import Editor

    observer = observer or EditObserver()
    source, target = Path(source), Path(target)
    jobs = plan(source, target, config.writing)
    editor, report = Editor(config), BatchReport()
    for number, (video, result) in enumerate(jobs, 1):
        observer.video(video, result, number, len(jobs))
        try:
            finished = editor.finished(video, result)
            if finished is None:
                result.parent.mkdir(parents=True, exist_ok=True)
                finished = editor.edit(video, result, observer)
            else:
                observer.finished(finished, result)
            report.done.append(finished)
        except OSError as error:
            if not isinstance(error, ToolkitError):
                error = ToolkitError(f"expected to write {result}, but: {error.strerror}; check the access rights")
            _fail(report, observer, video, error)
        except ToolkitError as error:
            _fail(report, observer, video, error)
    return report


def _fail(report: BatchReport, observer: EditObserver, video: Path, error: ToolkitError) -> None:
    report.failed.append((video, error))
    observer.failed(video, error)


def plan(source: Path, target: Path, writing: WritingConfig) -> Sequence[tuple[Path, Path]]:
    """Videos and where their results go.

    Raises:
        UsageError, InputError: as for `edit_videos`.
    """
    from toolkit.video.finding import find_videos

    if target.exists() and not target.is_dir():
        raise UsageError(f"{source} is a folder, so the output must be one too, and {target} is a file")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target} is the folder of the videos itself; name another one for the results")
    jobs: list[tuple[Path, Path]] = []
    taken: dict[Path, Path] = {}
    within = target.resolve().is_relative_to(source.resolve())
    for video, name in find_videos([source]):
        if within and video.is_relative_to(target.resolve()):
            continue  # a result of an earlier run
        result = target / result_name(name, writing.lossless)
        made = preview_name(result) if writing.preview else result
        for path in (made, comparison_name(made)) if writing.compare else (made,):
            if path in taken:
                raise UsageError(f"{taken[path]} and {video} would both become {path}; rename one of them")
            taken[path] = video
        jobs.append((video, result))
    return jobs


def result_name(name: str, lossless: bool) -> Path:
    """What the result of a video is called: the same, in a container that can hold it."""
    suffix = Path(name).suffix.lower()
    return Path(name).with_suffix(suffix if suffix in KEPT[lossless] else KEPT[lossless][0])


def result_names(names: Sequence[str], lossless: bool) -> list[Path]:
    """Those of several videos.

    Raises:
        UsageError: two of them would have one name.
    """
    taken: dict[Path, str] = {}
    for name in names:
        result = result_name(name, lossless)
        if result in taken:
            raise UsageError(f"{taken[result]} and {name} would both become {result}; rename one of them")
        taken[result] = name
    return list(taken)
