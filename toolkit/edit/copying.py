"""A video that needs no edit: the same streams under another name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from toolkit.errors import ToolkitError, UsageError


def copy_video(source: Path, target: Path) -> None:
    """Copy a video: byte by byte where the name's ending is the same, else its packets into the other container.

    Raises:
        UsageError: the other container cannot hold a stream.
        ToolkitError: the file cannot be written.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        if source.suffix.lower() == target.suffix.lower():
            shutil.copyfile(source, temporary)
        else:
            _remux(source, temporary, target)
        os.replace(temporary, target)
    except OSError as error:
        raise ToolkitError(
            f"expected to write {target}, but: {error.strerror}; check the disk's free space and access rights"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _remux(source: Path, temporary: Path, target: Path) -> None:
    import av

    from toolkit.video.remux import copy_attachments, describe, lasting

    tolerant = {"metadata_errors": "replace"}
    with av.open(f"file:{source}", **tolerant) as reader, av.open(f"file:{temporary}", "w", **tolerant) as writer:
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
                f"nothing is to be edited in {source.name}, and a {target.suffix} file cannot hold its streams as they "
                f"are: {error}; name an output that ends in {source.suffix}"
            ) from error
        for packet in reader.demux(streams):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                writer.mux(packet)
