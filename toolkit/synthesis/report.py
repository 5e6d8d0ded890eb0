"""The observer of a build, and its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit.dataset.layout import CARD, PREVIEW, Manifest, ShardRecord, SourceRecord
from toolkit.progress import Observer
from toolkit.synthesis.plan import Plan, Source


class BuildObserver(Observer):
    """Follows a build; the base class shows nothing. Progress counts frames, failures are those of videos."""

    def skipped(self, name: str, reason: str) -> None:
        """A video gives no pairs, which is no failure, such as one without a face."""

    def shard_finished(self, shard: ShardRecord) -> None:
        """A shard is stored."""


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


def dropped_by_reason(shards: list[ShardRecord]) -> Counter[str]:
    """How often each reason left something out of these shards."""
    dropped: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard.dropped)
    return dropped


def source_record(
    source: Source, plan: Plan, records: dict[str, ShardRecord], failures: dict[str, list[str]]
) -> SourceRecord:
    """The manifest's entry for a planned source."""
    segments = [segment for segment in plan.segments if segment.source is source]
    shards = [records[segment.name] for segment in segments if segment.name in records]
    frames, clips, pairs = (sum(getattr(shard, name) for shard in shards) for name in ("frames", "clips", "pairs"))
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason = None
    if reasons := failures.get(source.digest):
        status, reason = "failed", reasons[0]
        if len(segments) > 1:
            reason += f" ({len(shards)} of {len(segments)} shards are finished)"
    elif not pairs:
        status, reason = "skipped", _reason_for_nothing(shards, frames)
    return SourceRecord(
        name=source.name,
        sha256=source.digest,
        split=plan.split[source.digest],
        status=status,
        reason=reason,
        frames=frames,
        clips=clips,
        pairs=pairs,
        notes=list(dict.fromkeys(note for shard in shards for note in shard.notes)),
    )


def _reason_for_nothing(shards: list[ShardRecord], frames: int) -> str:
    dropped = dropped_by_reason(shards)
    if dropped:
        return "; ".join(f"{reason} ({number})" for reason, number in dropped.most_common())
    if any(shard.frames_with_face for shard in shards):
        return "the task made no pair"
    return f"no face found in {frames} frames"
