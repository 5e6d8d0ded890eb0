"""Plans a build before it starts: sources, split and segments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit import seeds
from toolkit.dataset.layout import SourceRecord, Split, shard_name
from toolkit.errors import InputError
from toolkit.files import sha256_of
from toolkit.synthesis.config import ResolvedBuild
from toolkit.video.finding import find_videos


@dataclass(frozen=True)
class Source:
    """A readable video.

    Attributes:
        path: the file.
        name: its path below the folder that the user named.
        digest: SHA-256 of the file.
        frames: number of its packets, which may differ from the number of decoded frames.
        width: of its frames in pixels.
    """

    path: Path
    name: str
    digest: str
    frames: int
    width: int


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `stop` of a source, or to its end if `stop` is None. They become the shard `name`."""

    source: Source
    name: str
    split: Split
    start: int
    stop: int | None
    frames: int
    max_clips: int | None


@dataclass(frozen=True)
class Plan:
    """The work of a build.

    Attributes:
        inputs: name and SHA-256 of every distinct source; None if it cannot be read.
        sources: the readable ones.
        segments: the shards to build, in the order of the dataset.
        unusable: files that are skipped or cannot be read.
        split: split of each source by its digest.
    """

    inputs: list[tuple[str, str | None]]
    sources: list[Source]
    segments: list[Segment]
    unusable: list[SourceRecord]
    split: dict[str, Split]


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files in a folder; the path if it cannot be read.

    Settings that name a file are compared by its content, so another file of the same name counts as a change.
    """
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            parts = [f"{file.relative_to(path).as_posix()} {content_digest(file)}" for file in files]
            return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return f"sha256:{sha256_of(path)}"
    except OSError:
        return str(path)


def split_sources(digests: Iterable[str], fraction: float, seed: int) -> dict[str, Split]:
    """Assign each source to a split: `round(fraction * N)` to validation, but at least one of two or more.

    The choice depends only on the seed and the digests.
    """
    ranked = sorted(digests, key=lambda digest: (seeds.fraction(seed, "split", digest), digest))
    held_out = int(fraction * len(ranked) + 0.5)
    if fraction > 0 and len(ranked) > 1:
        held_out = min(max(held_out, 1), len(ranked) - 1)
    elif len(ranked) < 2:
        held_out = 0
    return {digest: "validation" if rank < held_out else "train" for rank, digest in enumerate(ranked)}


def segments_of(source: Source, split: Split, config: ResolvedBuild) -> list[Segment]:
    """Cut a source into segments of whole clips. A rest shorter than a clip is added to the last segment."""
    length = config.segment_frames // config.clip_length * config.clip_length
    starts = list(range(0, source.frames, length)) or [0]
    if len(starts) > 1 and source.frames - starts[-1] < config.clip_length:
        starts.pop()
    bounds = [*starts, None]
    segments = []
    for number, start in enumerate(starts):
        stop = bounds[number + 1]
        share = None
        if config.max_clips is not None:
            count = len(starts)
            share = config.max_clips * (number + 1) // count - config.max_clips * number // count
            if share == 0:
                continue
        frames = (source.frames if stop is None else stop) - start
        segments.append(
            Segment(source, shard_name(source.name, source.digest, number), split, start, stop, frames, share)
        )
    return segments


def make_plan(config: ResolvedBuild, tell: Callable[[str], None] | None = None) -> Plan:
    """Inspect every source once.

    Args:
        tell: called with a sentence about the files that are no videos.

    Raises:
        InputError: a path does not exist, or a folder cannot be read or holds no video.
    """
    from toolkit.video import probe

    inputs: list[tuple[str, str | None]] = []
    sources: list[Source] = []
    unusable: list[SourceRecord] = []
    names: dict[str, str] = {}
    for path, name in find_videos(config.videos, tell=tell):
        try:
            if path.exists() and not path.is_file():  # reading a pipe or a device may never end
                inputs.append((name, None))
                unusable.append(_unusable(name, None, "failed", "expected a file, found a pipe or a device"))
                continue
            digest = sha256_of(path)
        except OSError as error:
            inputs.append((name, None))
            unusable.append(_unusable(name, None, "failed", f"the file cannot be read: {error.strerror}"))
            continue
        if digest in names:
            unusable.append(_unusable(name, digest, "skipped", f"the same file as {names[digest]}"))
            continue
        names[digest] = name
        inputs.append((name, digest))
        try:
            info = probe(path)
        except InputError as error:
            unusable.append(_unusable(name, digest, "failed", str(error).replace(str(path), name)))
            continue
        sources.append(Source(path, name, digest, info.frame_count, info.width))
    split = split_sources((source.digest for source in sources), config.validation_fraction, config.seed)
    segments = [segment for source in sources for segment in segments_of(source, split[source.digest], config)]
    return Plan(inputs, sources, segments, unusable, split)


def _unusable(name: str, digest: str | None, status: str, reason: str) -> SourceRecord:
    return SourceRecord(name=name, sha256=digest, split=None, status=status, reason=reason, frames=0, clips=0, pairs=0)
