"""Copies a video in which nothing is edited."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.edit.output.names import report_name
from toolkit.errors import ToolkitError
from toolkit.files import atomic, derived_path

if TYPE_CHECKING:
    from toolkit.video.carrying import CarryingPlan


def copy_bytes(source: Path, target: Path) -> None:
    """Copy a video byte by byte.

    Raises:
        ToolkitError: the file cannot be written.
    """
    from toolkit.video.target import written_through

    try:
        with atomic(written_through(target), shared=True, durable=True) as staged:
            shutil.copyfile(source, staged)
    except OSError as error:
        raise ToolkitError(
            f"expected to write {target}, but: {error.strerror}; check the disk's free space and access rights"
        ) from error


def copy_whole(source: Path, target: Path) -> bool:
    """Copy a video under a name: byte by byte if the suffix stays the same, else its packets into the other container.

    Returns:
        Whether the container can hold all tracks unchanged. If not, nothing is written.

    Raises:
        ToolkitError: the file cannot be written.
    """
    from toolkit.video.carrying import plan_copying

    suffix = target.suffix.lower()
    if source.suffix.lower() == suffix:
        copy_bytes(source, target)
        return True
    plan = plan_copying(source, suffix)
    return plan is not None and _remux(source, target, plan)


def other_name(source: Path, target: Path) -> Path:
    """The name of a copy under the source's own suffix: it never replaces a file that is not an earlier result."""
    path = target.with_suffix(source.suffix)
    if path.exists() and (path.samefile(source) or not report_name(path).is_file()):
        return derived_path(target, after=source.suffix)
    return path


def _remux(source: Path, target: Path, plan: CarryingPlan) -> bool:
    import av

    from toolkit.video.carrying import FORMATS, carriers
    from toolkit.video.container import open_source, picture_streams
    from toolkit.video.copying import lasting, shifted_chapters, timed_packets
    from toolkit.video.remux import copy_attachments
    from toolkit.video.target import UnwritableStreams, repeatable, write_errors, written_through
    from toolkit.video.timing import Timeline

    form, options = FORMATS[plan.suffix], repeatable(plan.suffix)
    try:
        with (
            write_errors(target),
            atomic(written_through(target), shared=True, durable=True) as staged,
            open_source(source) as reader,
            av.open(f"file:{staged}", "w", format=form, options=options, metadata_errors="replace") as writer,
        ):
            timeline = Timeline(reader, picture_streams(reader)[0])
            writer.metadata.update(lasting(reader.metadata))
            writer.set_chapters(shifted_chapters(reader, timeline.origin))
            tracks = carriers(reader, writer, plan)
            copy_attachments(reader, writer, target)
            for packet in timed_packets(timeline, [reader.streams[index] for index in tracks]):
                tracks[packet.stream.index].carry(packet)
            for track in tracks.values():
                track.finish()
    except UnwritableStreams:
        return False
    return True
