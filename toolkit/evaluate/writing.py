"""The report's folder: JSON, CSV, LaTeX, and a page with players."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.errors import ToolkitError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.results import Evaluation

CLIP_SIDE = 480
"""Larger side of the copies in the report."""

ORIGINAL = "original"


def write_report(evaluation: Evaluation, config: EvaluateConfig, sets: list[VideoSet]) -> None:
    """Write all forms of a report; ``report.json`` is the last, so that where it is all others are.

    Raises:
        ToolkitError: a file cannot be written.
    """
    from toolkit.evaluate.page import write_page
    from toolkit.evaluate.tables import csv_text, latex

    folder = config.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clips = _clips(evaluation, folder, sets) if config.clips else {}
        _write(folder / "table.csv", csv_text(evaluation))
        _write(folder / "table.tex", latex(evaluation))
        write_page(evaluation, folder, clips)
        _write(folder / "report.json", evaluation.model_dump_json(indent=1))
    except OSError as error:
        raise ToolkitError(
            f"expected to write the report into {folder}, but: {error.strerror}; check the disk's free space and "
            "access rights"
        ) from error


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _clips(evaluation: Evaluation, folder: Path, sets: list[VideoSet]) -> dict[str, dict[str, str]]:
    """Video -> original or method -> path of a small copy, relative to the folder."""
    (folder / "clips").mkdir(exist_ok=True)
    failed = {(method.name, video.name) for method in evaluation.methods for video in method.videos if video.failed}
    clips: dict[str, dict[str, str]] = {}
    for number, videos in enumerate(sets):
        sources = {ORIGINAL: videos.original}
        sources |= {
            method: path
            for method, path in videos.edited.items()
            if isinstance(path, Path) and (method, videos.name) not in failed
        }
        if len(sources) == 1:
            continue
        clips[videos.name] = {}
        for method, path in sources.items():
            slug = re.sub(r"[^a-z0-9]+", "-", f"{Path(videos.name).stem}-{method}".lower()).strip("-")[:60]
            name = f"clips/{number:03d}-{slug}-{len(clips[videos.name])}.mp4"
            _copy(path, folder / name)
            clips[videos.name][method] = name
    return clips


def _copy(source: Path, target: Path) -> None:
    """A small H.264 copy that every browser plays."""
    from toolkit.video import VideoWriter, probe

    with VideoWriter(target, fps=probe(source).fps, crf=23) as writer:
        for picture in _small(source):
            writer.write(picture)


def _small(source: Path) -> Iterator[np.ndarray]:
    from toolkit.video import read_frames

    for frame in read_frames(source, max_side=CLIP_SIDE):
        yield frame.image
