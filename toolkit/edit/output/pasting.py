"""The third pass over a video: patches are pasted into the frames, and the result is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit import __version__
from toolkit.edit.config import WritingConfig
from toolkit.edit.output.comparison import Comparison
from toolkit.edit.output.names import comparison_name
from toolkit.edit.output.patches import PatchPaster
from toolkit.edit.output.provenance import container_metadata
from toolkit.edit.output.signing import sign
from toolkit.edit.output.territories import Area
from toolkit.files import derived_path, publish, remove, remove_remains
from toolkit.prefetching import prefetched
from toolkit.video.carrying import CarryingPlan
from toolkit.video.notes import VideoNote
from toolkit.video.retouch import Taken, VideoRetoucher
from toolkit.video.rewrite import VideoRewriter
from toolkit.video.target import written_through

THREADS = 4
"""Threads of the encoder: always the same number, so that the same edit gives the same file on every machine."""


@dataclass(frozen=True)
class WrittenVideo:
    """A video that was written.

    Attributes:
        comparison: name of the comparison video, if there is one.
        signed: whether the video has a signed manifest.
        seconds: time that pasting and writing took, for each frame.
        notes: what was noticed in the other tracks while they were written.
    """

    comparison: str | None
    signed: bool
    seconds: list[float]
    notes: tuple[VideoNote, ...] = ()


def write_video(
    source: Path,
    target: Path,
    patches: PatchPaster,
    writing: WritingConfig,
    tasks: Sequence[str],
    times: np.ndarray,
    on_frame: Callable[[int], object],
    carrying: CarryingPlan,
) -> WrittenVideo:
    """Write the edited video and, if wanted, the comparison.

    Args:
        source: the video that was edited.
        target: the new video.
        patches: what is pasted into each frame.
        writing: settings.
        tasks: names of the attributes that were removed; empty if nothing was edited, as in a preview of a stretch
            without the attribute.
        times: float64 ``[T]``, seconds of the frames to write.
        on_frame: called with the number of frames that were written.
        carrying: what becomes of the source's other tracks.

    Raises:
        ToolkitError: a file cannot be written.
    """
    preview, edited = writing.preview is not None, bool(tasks)
    metadata = container_metadata(_metadata(source), tasks, __version__) if writing.provenance and edited else {}
    written = written_through(target)
    staged = derived_path(written.with_name(f"{written.stem}{target.suffix}"), before=".", mark=".staged")
    compared = comparison_name(target)
    for path in (staged, compared):  # of a killed run; no other process writes this video
        remove_remains(path)
    seconds: list[float] = []
    try:
        with ExitStack() as opened:
            stop = len(times) if preview else None
            retoucher = VideoRetoucher(source, staged, writing.crf, writing.lossless, metadata, stop, THREADS, carrying)
            video = opened.enter_context(retoucher)
            comparison = writer = None
            # Decoding and pasting run ahead in a thread; x264 has threads of its own.
            pictures = opened.enter_context(closing(prefetched(_pasted(video, patches))))
            for taken, picture, changed, spent in pictures:
                started, frame = time.monotonic(), taken.frame
                area = None if changed is None else np.s_[changed[1] : changed[3], changed[0] : changed[2]]
                video.give(taken, picture, area)
                if writing.compare is not None:
                    if comparison is None or writer is None:
                        comparison = Comparison(writing.compare, frame.image.shape[1], frame.image.shape[0])
                        end = _end(times) if preview else None
                        writer = opened.enter_context(
                            VideoRewriter(
                                source, compared, writing.crf, metadata=metadata, stop_time=end, carrying=carrying
                            )
                        )
                    writer.write(comparison.picture(frame.image, picture, frame.time), frame.time)
                seconds.append(spent + time.monotonic() - started)
                on_frame(frame.index + 1)
        signed = writing.c2pa_certificate is not None and edited
        if signed:
            sign(source, staged, writing, tasks, __version__, target.name)
        publish(staged, written, durable=True)
    finally:
        remove(staged)
    comparison_made = compared.name if writing.compare is not None else None
    return WrittenVideo(comparison_made, signed, seconds, tuple(retoucher.notes[len(carrying.notes) :]))


def _pasted(video: VideoRetoucher, patches: PatchPaster) -> Iterator[tuple[Taken, np.ndarray, Area | None, float]]:
    """Frames with what was pasted into them, the area where, and the time that this took."""
    for taken in video.taken():
        started = time.monotonic()
        picture, changed = patches.onto(taken.frame.image, taken.frame.index)
        yield taken, picture, changed, time.monotonic() - started


def _end(times: np.ndarray) -> float:
    """Seconds at which the last frame ends; it lasts as long as the one before."""
    return float(times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0.04))


def _metadata(source: Path) -> Mapping[str, str]:
    from toolkit.video.container import open_video

    with open_video(source) as (container, _):
        return dict(container.metadata)
