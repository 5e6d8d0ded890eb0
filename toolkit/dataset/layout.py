"""File names, columns and records of a dataset."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolkit.files import dump_json

SCHEMA_VERSION: Literal[2] = 2
"""Version of the format, saved in `manifest.json` and `config.json`. In version 1, the settings in `config.json` had
other names; everything else was the same."""

Format = Literal["imagefolder", "webdataset"]
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")

CONFIG, MANIFEST, CARD, PREVIEW, DATA = "config.json", "manifest.json", "README.md", "preview.png", "data"
WORK = ".build"
"""Folder of an unfinished build: lock, temporary files, records of finished shards. Removed at the end."""
METADATA = "metadata.jsonl"
CHECKSUMS = "SHA256SUMS"
"""Checksums in a shard of an image folder, in the format of `sha256sum -c`."""

PICTURES = ("image", "conditioning_image", "mask")
"""The three pictures of a pair, in the order of their columns."""

COLUMNS: dict[str, type] = {
    "text": str,
    "task": str,
    "clip_id": str,
    "frame_index": int,
    "time": float,
    "source": str,
    "source_digest": str,
    "face_box": list,
    "crop_box": list,
    "seed": int,
    "mask_area": int,
}
"""Columns of every row besides the pictures. The task's `Pair.info` follows them."""


class ShardRecord(BaseModel):
    """One finished shard: the pairs of one segment of one source.

    A segment that gave no pairs also has a record, with `path` None, so that a resumed build skips it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    split: Split
    source_digest: str
    path: str | None = Field(description="Relative path of the folder or tar file.")
    sha256: str | None = Field(description="SHA-256 of the folder's SHA256SUMS, or of the tar file.")
    frames: int = Field(description="Frames read from the source.")
    frames_with_face: int = Field(description="Frames that show a usable face.")
    clips: int
    pairs: int
    columns: dict[str, str] = Field(description="Names and types of the columns that the task added.")
    dropped: dict[str, int] = Field(description="How often each reason left something out.")
    notes: list[str] = Field([], description="What was noticed while the segment was read, such as damaged frames.")


class SourceRecord(BaseModel):
    """One input file and its outcome."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str | None
    split: Split | None
    status: Literal["ok", "skipped", "failed"]
    reason: str | None
    frames: int
    clips: int
    pairs: int
    notes: list[str] = Field([], description="What was noticed while the video was read, such as damaged frames.")


class Manifest(BaseModel):
    """The content of `manifest.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1, 2] = SCHEMA_VERSION
    format: Format
    task: str
    resolution: int
    clips: int
    pairs: int
    sources: list[SourceRecord]
    shards: list[ShardRecord]


def manifest_bytes(manifest: Manifest) -> bytes:
    """The content of `manifest.json`."""
    return dump_json(manifest.model_dump(mode="json")).encode()


_SPLIT_WORD = re.compile(r"(?<![a-z])(train|training|validation|valid|val|dev|test|testing|eval|evaluation)(?![a-z])")


def shard_name(source: str, digest: str, segment: int) -> str:
    """Name of a shard: words of the source's name, digits of its SHA-256, and the number of the segment.

    The `datasets` library takes any file or folder for a split that has "test" or the like as a word in its name, so
    such words become plurals.
    """
    stem = unicodedata.normalize("NFKD", Path(source).stem).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].strip("-") or "video"
    words = _SPLIT_WORD.sub(r"\1s", words)
    return f"{words}-{digest[:12]}-{segment:04d}"


def shard_path(format: Format, split: Split, name: str) -> PurePosixPath:
    """Path of a shard, relative to the dataset."""
    if format == "webdataset":
        return PurePosixPath(DATA, f"{split}-{name}.tar")
    return PurePosixPath(DATA, split, name)


def is_safe(path: object) -> bool:
    """Whether a path read from a file is relative and stays inside its folder."""
    if not isinstance(path, str) or not path or "\\" in path or "\0" in path or ":" in path:
        return False
    parts = PurePosixPath(path).parts
    return not PurePosixPath(path).is_absolute() and ".." not in parts and parts != ()


def is_dataset(folder: Path) -> bool:
    """Whether the folder is a finished dataset."""
    return (folder / MANIFEST).is_file()
