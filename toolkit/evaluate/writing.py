"""Writes the report's folder: JSON, CSV, LaTeX, and a page with players."""

from __future__ import annotations

import re
from contextlib import closing, suppress
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.evaluate.clips import ORIGINAL, Clip, make_clip
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.page import PAGE, page_text
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.results import Evaluation
from toolkit.evaluate.tables import csv_text, latex
from toolkit.executor import Executor, InlineExecutor
from toolkit.files import model_json, write_text

REPORT = "report.json"
CLIPS = "clips"
_CLIP = re.compile(r"\d{3,}-.*\.mp4|\.\d{3,}-.*\.part\.mp4")
"""Names of copies, and of unfinished ones that a killed run left."""


def write_report(
    evaluation: Evaluation, config: EvaluateConfig, sets: list[VideoSet], executor: Executor | None = None
) -> None:
    """Write all forms of a report. ``report.json`` comes last, so if it exists the report is complete.

    An older report in the folder is replaced, including its copies of videos. A copy that cannot be made, for example
    because its video can no longer be read, is left out, and the report notes it.

    Args:
        evaluation: the results; notes about missing copies are added to it.
        config: names the folder and says whether to make copies.
        sets: the videos that were measured.
        executor: makes the copies; this process if None.

    Raises:
        ToolkitError: a file cannot be written.
    """
    folder = config.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (REPORT, PAGE):
            (folder / name).unlink(missing_ok=True)
        write_text(folder / "table.csv", csv_text(evaluation), durable=True)
        write_text(folder / "table.tex", latex(evaluation), durable=True)
        _remove_clips(folder / CLIPS)
        clips = _clips(evaluation, folder, sets, executor) if config.clips else {}
        write_text(folder / PAGE, page_text(evaluation, clips), durable=True)
        write_text(folder / REPORT, model_json(evaluation, indent=1), durable=True)
    except OSError as error:
        raise ToolkitError(
            f"the report cannot be written to {folder}: {error.strerror or error}; check the disk's free space and "
            "permissions"
        ) from error


def _remove_clips(folder: Path) -> None:
    """Remove the copies of an older report; a user's own files in the folder stay."""
    if folder.is_dir():
        for path in folder.iterdir():
            if _CLIP.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):  # not empty
            folder.rmdir()


def _clips(
    evaluation: Evaluation, folder: Path, sets: list[VideoSet], executor: Executor | None
) -> dict[str, dict[str, str]]:
    """Make copies of the original and all edits of each video.

    Returns:
        Video -> `ORIGINAL` or method -> path of the copy, relative to the folder.
    """
    wanted: dict[Clip, tuple[str, str]] = {}
    for number, videos in enumerate(sets):
        measured = {
            method.name: video
            for method in evaluation.methods
            for video in method.videos
            if video.name == videos.name and video.failed is None
        }
        # All copies use the times of the original, which the values refer to; an edit's own times may differ.
        times = tuple(next(iter(measured.values())).times) if measured else ()
        sources = {ORIGINAL: videos.original} | {method: videos.edited[method] for method in measured}
        for index, (label, source) in enumerate(sources.items() if times else ()):
            slug = re.sub(r"[^a-z0-9]+", "-", f"{Path(videos.name).stem} {label or 'original'}".lower()).strip("-")[:60]
            target = folder / CLIPS / f"{number:03d}-{index}-{slug}.mp4"
            wanted[Clip(Path(source), target, times)] = videos.name, label
    if not wanted:
        return {}
    (folder / CLIPS).mkdir(exist_ok=True)
    clips: dict[str, dict[str, str]] = {}
    paths: dict[Clip, str] = {}
    with closing((executor or InlineExecutor()).run(make_clip, wanted)) as outcomes:
        for outcome in outcomes:
            name, label = wanted[outcome.item]
            if outcome.error is not None:  # a copy is only for viewing; the figures are complete
                evaluation.notes.append(f"no copy of {name}, {label or 'original'}: {outcome.error}")
            else:
                paths[outcome.item] = f"{CLIPS}/{outcome.item.target.name}"
    for clip, (name, label) in wanted.items():
        if clip in paths:
            clips.setdefault(name, {})[label] = paths[clip]
    return clips
