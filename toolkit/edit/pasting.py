"""The third pass over a video: patches are laid over the frames, and everything is written."""

from __future__ import annotations

import glob
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit import __version__
from toolkit.edit.check import comparison_name
from toolkit.edit.comparing import Comparison
from toolkit.edit.composite import paste, read_patch
from toolkit.edit.editing import squares_of
from toolkit.edit.faces import FaceRun, Sightings
from toolkit.edit.provenance import container_metadata, sign
from toolkit.edit.regions import Squares
from toolkit.edit.report import EditObserver, FrameReport
from toolkit.edit.workplace import Workplace
from toolkit.video.retouch import VideoRetoucher
from toolkit.video.rewrite import VideoRewriter

THREADS = 4
"""Of the encoder: always the same number, so that the same edit gives the same file on every machine."""

if TYPE_CHECKING:
    from toolkit.edit.engine import Editor


def paste_runs(
    editor: Editor,
    source: Path,
    target: Path,
    sightings: Sightings,
    runs: Sequence[FaceRun],
    place: Workplace,
    stop: int | None,
    frames: list[FrameReport],
    observer: EditObserver,
) -> tuple[str | None, bool]:
    """Write the edited video and, if it is wanted, the comparison.

    Returns:
        The comparison's name, if there is one, and whether the video was signed.

    Raises:
        ToolkitError: a file cannot be written.
    """
    output = editor.config.writing
    tasks = sorted({task for remover in editor.models.removers for task in remover.tasks})
    staged = target.with_name(f".{target.stem}.staged{target.suffix}")
    edited = any(frame.status == "edited" for frame in frames)  # else a preview of a stretch without the attribute
    metadata = container_metadata(_metadata(source), tasks, __version__) if output.provenance and edited else {}
    pasted = _Patches(runs, sightings, editor.config.region.padding, place)
    observer.phase("writing", len(frames), "frames")
    compared = comparison_name(target) if output.compare else None
    _remove_remains(staged, comparison_name(target))
    try:
        with ExitStack() as opened:
            video = opened.enter_context(
                VideoRetoucher(source, staged, output.crf, output.lossless, metadata, stop, THREADS)
            )
            comparison = writer = None
            for frame in video:
                begun = time.monotonic()
                picture = pasted.onto(frame.image, frame.index)
                video.put(picture)
                if compared is not None:
                    if comparison is None:
                        comparison = Comparison(output.compare, frame.image.shape[1], frame.image.shape[0])
                        end = None if stop is None else _end(sightings.times)
                        writer = opened.enter_context(
                            VideoRewriter(source, compared, output.crf, metadata=metadata, stop_time=end)
                        )
                    writer.write(comparison.picture(frame.image, picture, frame.time), frame.time)
                frames[frame.index].seconds = round(frames[frame.index].seconds + time.monotonic() - begun, 4)
                observer.advance(frame.index + 1)
        signed = output.c2pa_certificate is not None and edited
        if signed:
            sign(source, staged, output, tasks, __version__, target.name)
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    return compared and compared.name, signed


def _remove_remains(*names: Path) -> None:
    """Half-written files of a run that was killed; nobody else writes this video."""
    for name in names:
        for path in name.parent.glob(f".{glob.escape(name.stem)}.*.part{glob.escape(name.suffix)}"):
            path.unlink(missing_ok=True)


def _end(times: np.ndarray) -> float:
    """When the last frame ends; it lasts as long as the one before."""
    return float(times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0.04))


class _Patches:
    """The patches of all runs, by frame."""

    def __init__(self, runs: Sequence[FaceRun], sightings: Sightings, padding: float, place: Workplace):
        self._runs, self._sightings, self._padding, self._place = list(runs), sightings, padding, place
        self._squares: dict[int, Squares] = {}

    def onto(self, image: np.ndarray, index: int) -> np.ndarray:
        """A frame with all that was edited in it; the frame itself where nothing was."""
        result = image
        for run in self._runs:
            if run.start > index:
                break
            if index >= run.stop:
                continue
            patch = read_patch(self._place.root / f"run-{run.number}" / "patches" / f"{index - run.start:06d}.png")
            if patch is not None:
                squares = self._of(run)
                result = paste(result, *patch, squares.to_crop(index - run.start, len(patch[0])))
        while self._runs and self._runs[0].stop <= index:
            self._squares.pop(self._runs.pop(0).number, None)
        return result

    def _of(self, run: FaceRun) -> Squares:
        if run.number not in self._squares:
            self._squares[run.number] = squares_of(run, self._sightings, self._padding)
        return self._squares[run.number]


def _metadata(source: Path) -> Mapping[str, Any]:
    from toolkit.video.container import open_video

    with open_video(source) as (container, _):
        return dict(container.metadata)
