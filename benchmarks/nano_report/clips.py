"""Beginnings of real clips, and portraits, as lossless videos that every variant edits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.nano_report.material import Portrait
from toolkit.video import VideoWriter, probe, read_frames


def beginnings(clips: Sequence[Path], folder: Path, seconds: float) -> None:
    """Write the first seconds of clips, at least one frame; videos that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        target = folder / f"{clip.stem}.mkv"
        if not target.exists():
            fps = probe(clip).fps
            with VideoWriter(target, fps=fps, lossless=True) as writer:
                for frame in islice(read_frames(clip), max(1, round(seconds * fps))):
                    writer.write(frame.image)


def stills(portraits: Sequence[Portrait], folder: Path) -> None:
    """Write each portrait as a video of one frame, named ``SET-NAME.mkv``; videos that are there already stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for portrait in portraits:
        target = folder / f"{portrait.set}-{portrait.path.stem}.mkv"
        if not target.exists():
            with VideoWriter(target, fps=25, lossless=True) as writer:
                writer.write(np.asarray(Image.open(portrait.path).convert("RGB")))


def blank(videos: Path, folder: Path) -> None:
    """Write black videos of the same sizes and lengths, in which everything was removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in sorted(videos.glob("*.mkv")):
        with VideoWriter(folder / video.name, fps=probe(video).fps, lossless=True) as writer:
            for frame in read_frames(video):
                writer.write(np.zeros_like(frame.image))
