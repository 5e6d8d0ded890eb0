"""What a build tells while it runs and when it is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.dataset.layout import CARD, PREVIEW, Manifest, ShardRecord, SourceRecord
from toolkit.synthesis.plan import Plan, Source


class BuildObserver:
    """Follows a build; the base class says nothing. A command line or a notebook overrides what it shows."""

    def started(self, total_frames: int, finished: list[ShardRecord]) -> None:
        """The plan stands: frames of all sources, and the shards of an earlier run."""

    def shard_done(self, shard: ShardRecord) -> None:
        """One more shard is finished."""

    def source_left_out(self, source: SourceRecord) -> None:
        """A source is skipped or has failed; its reason says why."""

    def bug(self, source: str, details: str) -> None:
        """Something unforeseen happened with a source; `details` is a traceback."""


@dataclass(frozen=True)
class BuildReport:
    """A finished build.

    Attributes:
        output: the dataset's folder; `preview` and `card` are files in it.
        warnings: sentences for the user.
    """

    output: Path
    manifest: Manifest
    warnings: list[str] = field(default_factory=list)

    @property
    def preview(self) -> Path:
        return self.output / PREVIEW

    @property
    def card(self) -> Path:
        return self.output / CARD

    @property
    def failed(self) -> list[SourceRecord]:
        return [source for source in self.manifest.sources if source.status == "failed"]

    @property
    def skipped(self) -> list[SourceRecord]:
        return [source for source in self.manifest.sources if source.status == "skipped"]


def source_record(
    source: Source, plan: Plan, records: dict[str, ShardRecord], failures: dict[str, list[str]]
) -> SourceRecord:
    """What became of a planned source."""
    segments = [segment for segment in plan.segments if segment.source is source]
    shards = [records[segment.name] for segment in segments if segment.name in records]
    frames, clips, pairs = (sum(getattr(shard, name) for shard in shards) for name in ("frames", "clips", "pairs"))
    status, reason = "ok", None
    if reasons := failures.get(source.digest):
        status, reason = "failed", reasons[0]
        if len(segments) > 1:
            reason += f" ({len(shards)} of {len(segments)} shards are finished)"
    elif not pairs:
        status, reason = "skipped", _nothing_from(shards, frames)
    return SourceRecord(
        name=source.name,
        sha256=source.digest,
        split=plan.split[source.digest],
        status=status,
        reason=reason,
        frames=frames,
        clips=clips,
        pairs=pairs,
    )


def _nothing_from(shards: list[ShardRecord], frames: int) -> str:
    dropped = sum((Counter(shard.dropped) for shard in shards), Counter())
    if dropped:
        return "; ".join(f"{reason} ({number})" for reason, number in dropped.most_common())
    if any(shard.frames_with_face for shard in shards):
        return "the task made no pair"
    return f"no face found in {frames} frames"
