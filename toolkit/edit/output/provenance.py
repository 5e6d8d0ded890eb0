"""The note in a video's metadata that says that it was edited."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SOFTWARE = "vlasik-toolkit"
SOURCE_TYPE = "compositeWithTrainedAlgorithmicMedia"
SOURCE_TYPE_URL = f"http://cv.iptc.org/newscodes/digitalsourcetype/{SOURCE_TYPE}"
"""IPTC's term for pictures of which a trained model made a part."""
NOTE = (
    f"Edited with {SOFTWARE} {{version}}. Removed: {{tasks}}. Parts of the faces are generated. "
    f"Digital source type: {SOURCE_TYPE} ({SOURCE_TYPE_URL})."
)
_NOTE = re.compile(re.escape(NOTE).replace(r"\{version\}", r"\S+?").replace(r"\{tasks\}", "(.*?)"))


def container_metadata(existing: Mapping[str, str], tasks: Sequence[str], version: str) -> dict[str, str]:
    """Metadata that says that a video was edited, to be merged into the existing metadata.

    It is one comment, the only text field that MP4, MOV and Matroska all keep through FFmpeg. An existing comment stays
    in front. A video that is edited again has one note, which names everything that was removed.

    Args:
        existing: the source's metadata, as PyAV returns it.
        tasks: names of the attributes that were removed.
        version: of this toolkit.

    Returns:
        One entry, under the key of the existing comment (Matroska's are in capitals) or ``comment``.
    """
    key = _comment_key(existing)
    comment = existing.get(key, "")
    removed = [name for note in _NOTE.finditer(comment) for name in note[1].split(", ")]
    note = NOTE.format(version=version, tasks=", ".join(dict.fromkeys([*removed, *tasks])))
    return {key: "\n".join(filter(None, [_NOTE.sub("", comment).strip(), note]))}


def was_edited(metadata: Mapping[str, str]) -> bool:
    """Whether a video's metadata says that this toolkit edited it."""
    return _NOTE.search(metadata.get(_comment_key(metadata), "")) is not None


def _comment_key(metadata: Mapping[str, str]) -> str:
    return next((key for key in metadata if key.lower() == "comment"), "comment")
