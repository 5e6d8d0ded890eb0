"""The report's folder: JSON, CSV, LaTeX, and a page with players."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.evaluate.clips import ORIGINAL, Clip, make_clip
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.page import PAGE, page_text
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.results import Evaluation
from toolkit.evaluate.tables import csv_text, latex
from toolkit.executor import Executor, Outcome

REPORT = "report.json"
CLIPS = "clips"
_CLIP = re.compile(r"\d{3,}-.*\.mp4|\.\d{3,}-.*\.part\.mp4")
"""Names of copies, and of those that a run that was stopped left behind."""


def write_report(
    evaluation: Evaluation, config: EvaluateConfig, sets: list[VideoSet], executor: Executor | None = None
) -> None:
    """Write all forms of a report; ``report.json`` is the last, so that where it is all others are.

    An older report in the folder is replaced, its copies of videos too. A copy that cannot be made because its video
    cannot be read any more is left out, and a note says so.

    Args:
        evaluation: what was found; notes of copies that were left out are added.
        config: names the folder, and whether copies are made.
        sets: the videos that were measured.
        executor: where copies are made; this process if None.

    Raises:
        ToolkitError: a file cannot be written.
    """
    folder = config.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (REPORT, PAGE):
            (folder / name).unlink(missing_ok=True)
        _write(folder / "table.csv", csv_text(evaluation))
        _write(folder / "table.tex", latex(evaluation))
        _remove_clips(folder / CLIPS)
        clips = _clips(evaluation, folder, sets, executor) if config.clips else {}
        _write(folder / PAGE, page_text(evaluation, clips))
        _write(folder / REPORT, evaluation.model_dump_json(indent=1))
    except OSError as error:
        raise ToolkitError(
            f"expected to write the report into {folder}, but: {error.strerror or error}; check the disk's free space "
            "and access rights"
        ) from error


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_clips(folder: Path) -> None:
    """Those of an older report; what a user put beside them stays."""
    if folder.is_dir():
        for path in folder.iterdir():
            if _CLIP.fullmatch(path.name):
                path.unlink()
        with suppress(OSError):  # not empty
            folder.rmdir()


def _clips(
    evaluation: Evaluation, folder: Path, sets: list[VideoSet], executor: Executor | None
) -> dict[str, dict[str, str]]:
    """Video -> original or method -> path of its copy, relative to the folder."""
    wanted: dict[Clip, tuple[str, str]] = {}
    for number, videos in enumerate(sets):
        measured = {
            method.name: video
            for method in evaluation.methods
            for video in method.videos
            if video.name == videos.name and video.failed is None
        }
        # Every copy at the times of the original, to which the values belong; an edit may have a clock of its own.
        times = tuple(next(iter(measured.values())).times) if measured else ()
        sources = {ORIGINAL: videos.original} | {method: videos.edited[method] for method in measured}
        for place, (label, source) in enumerate(sources.items() if times else ()):
            slug = re.sub(r"[^a-z0-9]+", "-", f"{Path(videos.name).stem} {label or 'original'}".lower()).strip("-")[:60]
            target = folder / CLIPS / f"{number:03d}-{place}-{slug}.mp4"
            wanted[Clip(Path(source), target, times)] = videos.name, label
    if not wanted:
        return {}
    (folder / CLIPS).mkdir(exist_ok=True)
    clips: dict[str, dict[str, str]] = {}
    made = {}
    outcomes = executor.run(make_clip, wanted) if executor else _here(wanted)
    with closing(outcomes):
        for outcome in outcomes:
            name, label = wanted[outcome.item]
            if outcome.error is not None:  # a copy is for looking only: the figures are there
                evaluation.notes.append(f"no copy of {name}, {label or 'original'}: {outcome.error}")
            else:
                made[outcome.item] = f"{CLIPS}/{outcome.item.target.name}"
    for clip, (name, label) in wanted.items():
        if clip in made:
            clips.setdefault(name, {})[label] = made[clip]
    return clips


def _here(clips: Iterable[Clip]) -> Iterator[Outcome]:
    for clip in clips:
        try:
            yield Outcome(clip, make_clip(clip))
        except ToolkitError as error:
            yield Outcome(clip, error=error)
