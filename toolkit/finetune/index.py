"""Indexes the training pairs on disk, so that memory does not grow with the dataset."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.dataset.layout import PICTURES
from toolkit.dataset.reader import Blob, Sample
from toolkit.errors import InputError
from toolkit.files import atomic
from toolkit.finetune.datasets import TrainingSet

_RECORDS, _OFFSETS = "index.jsonl", "index.bin"
_COLUMNS = ("text", "clip_id", "frame_index", "source")


@dataclass(frozen=True)
class Entry:
    """One pair of the index.

    Attributes:
        sample: its pictures, and the columns of its row that training needs.
        clip: number of its clip, counted over all datasets.
    """

    sample: Sample
    clip: int

    @property
    def text(self) -> str:
        return self.sample.row["text"]

    @property
    def clip_id(self) -> str:
        return self.sample.row["clip_id"]

    def __str__(self) -> str:
        row = self.sample.row
        return f"frame {row['frame_index']} of clip {row['clip_id']} of {row['source']}"


def write_index(folder: Path, datasets: Sequence[TrainingSet]) -> None:
    """Write the index of the training splits. The offsets come last, because they mark the index as complete.

    Raises:
        InputError: a shard is damaged, or the manifest states another number of pairs.
    """
    with (
        atomic(folder / _OFFSETS, durable=True) as staged_offsets,
        atomic(folder / _RECORDS, durable=True) as staged_records,
        staged_offsets.open("wb") as offsets,
        staged_records.open("wb") as records,
    ):
        clip, clip_id = -1, None
        for number, dataset in enumerate(datasets):
            shards = {shard.name: k for k, shard in enumerate(dataset.manifest.shards)}
            found = 0
            for sample in dataset.samples("train"):
                if lacking := [name for name in _COLUMNS if name not in sample.row]:
                    raise InputError(
                        f"a row of the shard {sample.shard.path} in {dataset.root} lacks {lacking[0]}; run "
                        "`toolkit dataset check`"
                    )
                if sample.row["clip_id"] != clip_id:
                    clip, clip_id = clip + 1, sample.row["clip_id"]
                blobs = [
                    (os.path.relpath(blob.path, dataset.root), blob.offset, blob.size)
                    for blob in (sample.blobs[name] for name in PICTURES)
                ]
                row = {name: sample.row[name] for name in _COLUMNS}
                record = {"dataset": number, "shard": shards[sample.shard.name], "clip": clip, "blobs": blobs}
                offsets.write(np.int64(records.tell()).tobytes())
                records.write(json.dumps({**record, "row": row}).encode() + b"\n")
                found += 1
            if found != dataset.count("train"):
                raise InputError(
                    f"the manifest of {dataset.root} states {dataset.count('train')} training pairs, found {found}; "
                    "run `toolkit dataset check`"
                )
        offsets.write(np.int64(records.tell()).tobytes())


class PairIndex:
    """Reads an index that `write_index` wrote; its length is the number of pairs."""

    def __init__(self, folder: Path, datasets: Sequence[TrainingSet]):
        self._folder, self._datasets = folder, datasets
        self._length = (folder / _OFFSETS).stat().st_size // 8 - 1
        self.resolution = datasets[0].manifest.resolution
        self.counts = [dataset.count("train") for dataset in datasets]
        self._files: dict[str, int] = {}

    @staticmethod
    def exists(folder: Path) -> bool:
        """Whether the index is complete."""
        return (folder / _OFFSETS).is_file()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, number: int) -> Entry:
        """The pair of a number from 0. The pairs of a dataset are consecutive."""
        if not 0 <= number < self._length:
            raise IndexError(number)
        start, end = np.frombuffer(self._read(_OFFSETS, number * 8, 16), np.int64)
        record: dict[str, Any] = json.loads(self._read(_RECORDS, int(start), int(end - start)))
        dataset = self._datasets[record["dataset"]]
        blobs = {
            name: Blob(dataset.root / path, offset, size)
            for name, (path, offset, size) in zip(PICTURES, record["blobs"])
        }
        return Entry(Sample(record["row"], blobs, dataset.manifest.shards[record["shard"]]), record["clip"])

    def _read(self, name: str, start: int, size: int) -> bytes:
        # Plain reads, because the pages of a memory map count towards the memory of the process.
        if name not in self._files:
            self._files[name] = os.open(self._folder / name, os.O_RDONLY)
        return os.pread(self._files[name], size, start)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # worker processes open their own
