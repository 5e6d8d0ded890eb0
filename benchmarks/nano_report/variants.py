"""Edits by this revision of the toolkit, by others, and by OpenCV."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.against import HERE, revision, toolkit
from toolkit.compare.methods import opencv_frames
from toolkit.evaluate.measuring import DIFFERS
from toolkit.files import read_json
from toolkit.video import VideoWriter, probe, read_frames

NOTHING_EDITED = 3
"""Exit code of `toolkit edit` if no video was edited."""

REMOVE_ALL = ("--hidden-eyes", "remove", "--face-paint", "remove")
"""Options with which every attribute is removed, dark lenses too."""

CRF = 16.0
"""x264 quality of edits by default."""


@dataclass(frozen=True)
class Variant:
    """A way to edit.

    Attributes:
        name: in tables.
        revision: commit or source folder of the toolkit; this one if None.
        arguments: of `toolkit edit`.
    """

    name: str
    revision: str | None = None
    arguments: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """The name of its folders."""
        return re.sub(r"\W+", "-", self.name.lower()).strip("-")


def parse_variant(text: str) -> Variant:
    """Parse ``NAME=[@REVISION] [ARGUMENT ...]``.

    Raises:
        ValueError: there is no name, or no equals sign.
    """
    name, sign, rest = text.partition("=")
    if not sign or not re.search(r"\w", name):
        raise ValueError(f"expected NAME=[@REVISION] [ARGUMENT ...], found {text!r}")
    words = shlex.split(rest)
    base = words.pop(0)[1:] if words and words[0].startswith("@") else None
    return Variant(name.strip(), base, tuple(words))


@contextmanager
def sources(variants: Sequence[Variant]) -> Iterator[dict[str, Path]]:
    """The source folder of each variant, by name."""
    found: dict[str | None, Path] = {None: HERE}
    with ExitStack() as stack:
        for base in (variant.revision for variant in variants):
            if base is not None and base not in found:
                found[base] = Path(base).resolve() if Path(base).is_dir() else stack.enter_context(revision(base))
        yield {variant.name: found[variant.revision] for variant in variants}


def edit(source: Path, variant: Variant, videos: Path, target: Path, task: str, *options: str) -> dict[str, str]:
    """Edit a folder of videos without loss.

    Args:
        source: folder of the toolkit to run.
        target: folder of the results; an earlier one is replaced.

    Returns:
        Name of each video without suffix -> what happened to it, from its report.
    """
    shutil.rmtree(target, ignore_errors=True)
    arguments = ("edit", videos, target, "--task", task, "--lossless", *options, *variant.arguments)
    toolkit(source, *arguments, codes=(0, NOTHING_EDITED))
    return {Path(path.stem).stem: read_json(path)["outcome"] for path in sorted(target.glob("*.json"))}


def telea(videos: Path, target: Path) -> None:
    """Fill the region in which input and target differ with OpenCV's inpainting; `videos` has both."""
    target.mkdir(parents=True, exist_ok=True)
    for source in sorted((videos / "with").glob("*.mkv")):
        masks = true_masks(source, videos / "without" / source.name)
        with VideoWriter(target / source.name, fps=probe(source).fps, lossless=True) as writer:
            for frame in opencv_frames(source, masks, "telea"):
                writer.write(frame)


def true_masks(source: Path, bare: Path) -> Iterator[np.ndarray]:
    """Where videos with and without an attribute differ, as `toolkit evaluate` counts: bool ``[H, W]`` a frame."""
    for one, other in zip(read_frames(source), read_frames(bare), strict=True):
        yield np.abs(one.image.astype(np.int16) - other.image).max(axis=2) > DIFFERS


def through_codec(edited: Path, outcomes: dict[str, str], target: Path) -> None:
    """Encode lossless edits as `toolkit edit` does by default; copied videos stay as they are."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for video in sorted(edited.glob("*.mkv")):
        if outcomes[video.stem] != "edited":
            shutil.copyfile(video, target / video.name)
            continue
        with VideoWriter(target / f"{video.stem}.mp4", fps=probe(video).fps, crf=CRF) as writer:
            for frame in read_frames(video):
                writer.write(frame.image)


def untouched(edited: Path, videos: Path, outcomes: dict[str, str]) -> list[str]:
    """Names of the videos that were copied, or in which no pixel of the true masks changed."""
    found = []
    for source in sorted((videos / "with").glob("*.mkv")):
        if outcomes[source.stem] != "edited" or not _touched(edited, videos, source.name):
            found.append(source.name)
    return found


def _touched(edited: Path, videos: Path, name: str) -> bool:
    source = videos / "with" / name
    frames = zip(
        read_frames(source), read_frames(edited / name), true_masks(source, videos / "without" / name), strict=True
    )
    return any((before.image != after.image).any(axis=2)[mask].any() for before, after, mask in frames)
