"""Copies a video in which nothing is edited."""

from __future__ import annotations

import shutil
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import atomic


def copy_video(source: Path, target: Path) -> None:
    """Copy a video: byte by byte if the suffix stays the same, else its packets into the other container.

    Raises:
        UsageError: the other container cannot hold a stream.
        ToolkitError: the file cannot be written.
    """
    try:
        with atomic(target, shared=True) as staged:
            if source.suffix.lower() == target.suffix.lower():
                shutil.copyfile(source, staged)
            else:
                _remux(source, staged, target)
    except OSError as error:
        raise ToolkitError(
            f"expected to write {target}, but: {error.strerror}; check the disk's free space and access rights"
        ) from error


def _remux(source: Path, staged: Path, target: Path) -> None:
    import av

    from toolkit.video.remux import copy_attachments, describe, lasting
    from toolkit.video.target import REPEATABLE

    with (
        av.open(f"file:{source}", metadata_errors="replace") as reader,
        av.open(f"file:{staged}", "w", options=REPEATABLE, metadata_errors="replace") as writer,
    ):
        writer.metadata.update(lasting(reader.metadata))
        writer.set_chapters(reader.chapters())
        streams = [stream for stream in reader.streams if stream.type in ("video", "audio", "subtitle")]
        try:
            copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
            for stream in streams:
                describe(copies[stream.index], stream)
            copy_attachments(reader, writer, target)
            writer.start_encoding()
        except (ValueError, av.FFmpegError) as error:
            raise UsageError(
                f"there is nothing to edit in {source.name}, and a {target.suffix} file cannot hold its streams "
                f"unchanged: {error}; name an output that ends in {source.suffix}"
            ) from error
        for packet in reader.demux(streams):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
