"""Writes a shard as a folder of pictures or as a tar file. It becomes visible once it is complete."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from toolkit.dataset.layout import CHECKSUMS, METADATA, PICTURES, Format, Split, shard_path
from toolkit.files import publish, sha256_of


class ShardWriter(Protocol):
    """Collects the pairs of a shard. The dataset does not change before `commit`."""

    def add(self, key: str, pictures: Mapping[str, bytes], row: Mapping[str, object]) -> None:
        """Append one pair.

        Args:
            key: unique in the dataset, without dots and slashes.
            pictures: PNG data by the names in `PICTURES`.
            row: the other columns.
        """
        ...

    def commit(self) -> str:
        """Give the shard its final name, replacing an earlier one, and return its checksum."""
        ...


class FolderWriter:
    """A shard of an image folder: PNG files, `metadata.jsonl` and `SHA256SUMS`."""

    def __init__(self, temporary: Path, final: Path):
        self._temporary, self._final = temporary, final
        self._rows: list[str] = []
        self._sums: list[str] = []
        temporary.mkdir(parents=True)

    def _write(self, name: str, data: bytes) -> None:
        (self._temporary / name).write_bytes(data)
        self._sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")

    def add(self, key: str, pictures: Mapping[str, bytes], row: Mapping[str, object]) -> None:
        names = {f"{picture}_file_name": f"{key}_{picture}.png" for picture in PICTURES}
        for picture in PICTURES:
            self._write(names[f"{picture}_file_name"], pictures[picture])
        self._rows.append(json.dumps({**names, **row}, ensure_ascii=False) + "\n")

    def commit(self) -> str:
        self._write(METADATA, "".join(self._rows).encode())
        sums = "".join(self._sums).encode()
        (self._temporary / CHECKSUMS).write_bytes(sums)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        publish(self._temporary, self._final, durable=True)
        return hashlib.sha256(sums).hexdigest()


class TarWriter:
    """A shard in the WebDataset format: a tar file.

    The members of a pair follow each other: `<key>.<column>.png`, `<key>.txt` and `<key>.json`.
    """

    def __init__(self, temporary: Path, final: Path):
        self._temporary, self._final = temporary, final
        temporary.parent.mkdir(parents=True, exist_ok=True)
        self._tar = tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by commit

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # its defaults: time 0, user and group 0, mode 644
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def add(self, key: str, pictures: Mapping[str, bytes], row: Mapping[str, object]) -> None:
        for picture in PICTURES:
            self._write(f"{key}.{picture}.png", pictures[picture])
        # Trainers can name this column as the caption, but not a field of the JSON.
        self._write(f"{key}.txt", str(row["text"]).encode())
        self._write(f"{key}.json", json.dumps(row, ensure_ascii=False).encode())

    def commit(self) -> str:
        self._tar.close()
        digest = sha256_of(self._temporary)
        self._final.parent.mkdir(parents=True, exist_ok=True)
        publish(self._temporary, self._final, durable=True)
        return digest


def open_shard(root: Path, temporary: Path, format: Format, split: Split, name: str) -> ShardWriter:
    """A writer for one shard.

    Args:
        root: the dataset.
        temporary: folder for unfinished files, on the same file system as `root`.
        format: format of the dataset.
        split: split of the shard.
        name: name of the shard.
    """
    final = root / shard_path(format, split, name)
    if format == "webdataset":
        return TarWriter(temporary / final.name, final)
    return FolderWriter(temporary / final.name, final)
