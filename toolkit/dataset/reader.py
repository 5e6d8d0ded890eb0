"""Reads datasets of both formats: rows first, pictures on demand."""

from __future__ import annotations

import errno
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from toolkit.dataset.layout import MANIFEST, METADATA, PICTURES, WORK, Manifest, ShardRecord, Split, is_dataset, is_safe
from toolkit.dataset.png import decode_png
from toolkit.errors import InputError
from toolkit.files import LARGEST_TEXT, check_plain, is_litter

LARGEST_PICTURE = 64 << 20
"""Bytes of the largest PNG file to read; pixels of `toolkit.dataset.png.MAX_SIDE` squared need less."""
LARGEST_ROW = 1 << 20
"""Characters of the longest line of metadata."""


_LINK = "it is a link, but a dataset must consist of plain files; copy it with `cp -rL`"


@dataclass(frozen=True)
class Blob:
    """A range of bytes in a file; up to its end if `size` is None."""

    path: Path
    offset: int = 0
    size: int | None = None

    def read(self) -> bytes:
        if self.path.is_symlink():
            raise OSError(errno.ELOOP, _LINK, str(self.path))
        check_plain(self.path, LARGEST_PICTURE if self.size is None else None)
        if self.size is not None and self.size > LARGEST_PICTURE:
            raise OSError(errno.EFBIG, f"one of its files has {self.size >> 20} MB", str(self.path))
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read() if self.size is None else file.read(self.size)


@dataclass(frozen=True)
class Sample:
    """One pair of a dataset.

    Attributes:
        row: the columns besides the pictures.
        blobs: PNG data by the names in `PICTURES`.
        shard: the shard that holds it; `shard.split` is its split.
    """

    row: Mapping[str, Any]
    blobs: Mapping[str, Blob]
    shard: ShardRecord

    def picture(self, name: str) -> np.ndarray:
        """Decode one of `PICTURES`.

        Returns:
            For the mask, bool ``[R, R]``; for the others, RGB uint8 ``[R, R, 3]``.

        Raises:
            InputError: the file is missing or damaged; the message names it.
        """
        blob = self.blobs[name]
        try:
            pixels = decode_png(blob.read())
        except OSError as error:
            raise InputError(f"the {name} {blob.path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InputError(f"the {name} of frame {self.row.get('frame_index')} in {blob.path}: {error}") from error
        if (pixels.ndim == 2) != (name == "mask"):
            raise InputError(f"the {name} of frame {self.row.get('frame_index')} in {blob.path} has the wrong colours")
        return pixels > 127 if name == "mask" else pixels


def read_manifest(root: Path) -> Manifest:
    """Read `manifest.json`.

    Raises:
        InputError: the folder is not a finished dataset, or its manifest is damaged or of another version.
    """
    if not is_dataset(root):
        advice = (
            "its build has not finished; run it again" if (root / WORK).is_dir() else "choose the folder of a dataset"
        )
        raise InputError(f"expected a dataset with a {MANIFEST} in {root}, found none; {advice}")
    try:
        check_plain(root / MANIFEST, LARGEST_TEXT)
        manifest = Manifest.model_validate_json((root / MANIFEST).read_bytes())
    except OSError as error:
        raise InputError(f"{root / MANIFEST} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{root / MANIFEST} is damaged or of another version: {where}: {first['msg']}") from None
    for shard in manifest.shards:
        if shard.path is not None and not is_safe(shard.path):
            raise InputError(f"{root / MANIFEST} names a path outside the dataset, {shard.path!r}")
    return manifest


def read_samples(root: Path, split: Split | None = None, manifest: Manifest | None = None) -> Iterator[Sample]:
    """Read all pairs in the order of the manifest.

    Args:
        root: the dataset.
        split: the split to read; both if None.
        manifest: the manifest; read from the folder if None.

    Raises:
        InputError: a shard is missing or damaged, or a row names a file outside it.
    """
    manifest = manifest or read_manifest(root)
    for shard in manifest.shards:
        if shard.path is not None and split in (None, shard.split):
            yield from read_shard(root, manifest, shard)


def read_shard(root: Path, manifest: Manifest, shard: ShardRecord) -> Iterator[Sample]:
    """Read the pairs of one shard.

    Raises:
        InputError: the shard is missing or damaged, or a row names a file outside it.
    """
    path = root / str(shard.path)
    for part in (path, *path.parents[: len(Path(str(shard.path)).parts) - 1]):
        if part.is_symlink():
            raise InputError(f"{part} cannot be read: {_LINK}")
    read = _read_tar if manifest.format == "webdataset" else _read_folder
    try:
        yield from read(path, shard)
    except OSError as error:
        raise InputError(f"the shard {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, OverflowError, MemoryError, tarfile.TarError) as error:
        raise InputError(f"the shard {path} is damaged: {error}") from error


def _read_folder(path: Path, shard: ShardRecord) -> Iterator[Sample]:
    check_plain(path / METADATA)
    with (path / METADATA).open(encoding="utf-8") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(LARGEST_ROW), ""), 1):
            row = _row(line, f"line {number} of {METADATA}")
            blobs = {}
            for name in PICTURES:
                file = row.pop(f"{name}_file_name", None)
                if not is_safe(file):
                    raise ValueError(f"line {number} of {METADATA} names {file!r} as {name}, not a file in the shard")
                blobs[name] = Blob(path / file)
            yield Sample(row, blobs, shard)


class _Member(tarfile.TarInfo):
    """A member of a tar file whose stated size is believable."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        largest = LARGEST_PICTURE if member.isreg() else LARGEST_ROW  # others hold long names
        if not 0 <= member.size <= largest:
            raise ValueError(f"{member.name!r} states a size of {member.size} bytes")
        return member


def _read_tar(path: Path, shard: ShardRecord) -> Iterator[Sample]:
    check_plain(path)
    with tarfile.open(path, "r:", tarinfo=_Member) as tar:
        key, blobs, row = None, {}, None
        for member in tar:
            if any(map(is_litter, PurePosixPath(member.name).parts)):
                continue
            stem, _, kind = member.name.partition(".")
            if not member.isreg() or member.issparse() or not is_safe(member.name):
                raise ValueError(f"{member.name!r} is not a plain file")
            if stem != key and key is not None:
                yield _complete(key, blobs, row, shard)
                blobs, row = {}, None
            key = stem
            blob = Blob(path, member.offset_data, member.size)
            if kind == "json":
                if member.size > LARGEST_ROW:
                    raise ValueError(f"{member.name} is longer than {LARGEST_ROW} bytes")
                row = _row(blob.read().decode(), member.name)
            elif kind != "txt":
                blobs[kind.removesuffix(".png")] = blob
        if key is not None:
            yield _complete(key, blobs, row, shard)


def _complete(key: str, blobs: dict[str, Blob], row: dict[str, Any] | None, shard: ShardRecord) -> Sample:
    if row is None or set(blobs) != set(PICTURES):
        found = sorted([*blobs, *(["json"] if row is not None else [])])
        raise ValueError(f"the sample {key} must have {', '.join(PICTURES)} and json, found {', '.join(found)}")
    return Sample(row, blobs, shard)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _row(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text, parse_constant=_refuse)
        json.dumps(row, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be a JSON object")
    return row
