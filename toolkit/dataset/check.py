"""Validates a dataset down to the pixels."""

from __future__ import annotations

import reprlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit.dataset.card import problems_with_card
from toolkit.dataset.layout import (
    CARD,
    CHECKSUMS,
    COLUMNS,
    CONFIG,
    DATA,
    MANIFEST,
    METADATA,
    PREVIEW,
    WORK,
    Format,
    Manifest,
    ShardRecord,
    is_safe,
    shard_path,
)
from toolkit.dataset.reader import Sample, read_manifest, read_shard
from toolkit.errors import InputError
from toolkit.files import LARGEST_TEXT, is_litter, read_json, sha256_of


@dataclass
class CheckReport:
    """The result of a check.

    Attributes:
        problems: one sentence for each problem.
        samples: number of pairs by split.
        clips, shards: how many were read.
    """

    problems: list[str] = field(default_factory=list)
    samples: Counter = field(default_factory=Counter)
    clips: int = 0
    shards: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems


def check_dataset(root: str | Path) -> CheckReport:
    """Read the whole dataset and list its problems.

    Checked are missing and unexpected files, checksums, columns and their types, counts, the size of the pictures,
    changes outside the mask, the area of the mask, duplicate pairs, and sources in two splits.

    Raises:
        InputError: the folder is not a dataset, or its manifest cannot be read.
    """
    root = Path(root)
    manifest = read_manifest(root)
    report = CheckReport()
    report.problems += _files(root, manifest)
    report.problems += _config(root, manifest)
    report.problems += _card(root, manifest)
    report.problems += _sources(manifest)
    clips: set[str] = set()
    splits: dict[str, set[str]] = defaultdict(set)
    for shard in manifest.shards:
        if shard.path is None or not (root / shard.path).exists():
            continue
        report.shards += 1
        try:
            report.problems += shard_problems(root, manifest.format, shard)
        except OSError as error:
            report.problems.append(f"{shard.path} cannot be read: {error.strerror or error}")
        names: set[str] = set()
        seen: set[tuple[str, str]] = set()
        count = 0
        try:
            for sample in read_shard(root, manifest, shard):
                count += 1
                names.add(str(sample.row.get("clip_id")))
                report.problems += [f"{shard.path}: {problem}" for problem in _sample(sample, manifest)]
                identity = (str(sample.row.get("clip_id")), str(sample.row.get("frame_index")))
                if identity in seen:
                    frame, clip = map(_shown, reversed(identity))
                    report.problems.append(f"{shard.path}: two pairs for frame {frame} of clip {clip}")
                seen.add(identity)
                splits[str(sample.row.get("source_digest"))].add(shard.split)
        except InputError as error:
            report.problems.append(str(error))
        for unit, stated, counted in (("pairs", shard.pairs, count), ("clips", shard.clips, len(names))):
            if stated != counted:
                report.problems.append(f"{shard.path}: {MANIFEST} states {stated} {unit}, found {counted}")
        report.problems += [
            f"{shard.path}: another shard also holds the clip {_shown(clip)}" for clip in sorted(clips & names)
        ]
        clips |= names
        report.samples[shard.split] += count
    report.clips = len(clips)
    for digest, names in splits.items():
        if len(names) > 1:
            report.problems.append(f"the source {digest[:12]} is in both splits: {' and '.join(sorted(names))}")
    return report


def _files(root: Path, manifest: Manifest) -> Iterator[str]:
    """Missing and unexpected files."""
    for name in (CONFIG, CARD, PREVIEW):
        if not (root / name).is_file():
            yield f"{name} is missing"
    if (root / WORK).exists():
        yield f"{WORK} exists, so the build has not finished; run it again"
    expected = {shard.path for shard in manifest.shards if shard.path is not None}
    yield from (f"{path} is missing" for path in sorted(expected) if not (root / path).exists())
    known = {CONFIG, CARD, PREVIEW, MANIFEST, WORK, DATA} | expected
    folders = [root, root / DATA]
    if manifest.format == "imagefolder":
        known |= {f"{DATA}/train", f"{DATA}/validation"}
        folders += [root / DATA / "train", root / DATA / "validation"]
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = path.relative_to(root).as_posix()
            if is_litter(path.name):
                continue
            if name not in known:
                yield f"{name} is not part of the dataset"
            elif path.is_symlink():
                yield f"{name} is a link; a dataset holds only plain files"


def _config(root: Path, manifest: Manifest) -> Iterator[str]:
    """Problems of `config.json`: it cannot be read, or does not match the manifest."""
    if not (root / CONFIG).is_file():
        return
    try:
        document = read_json(root / CONFIG)
        config, inputs = document["config"], {item["sha256"] for item in document["inputs"]}
    except (ValueError, RecursionError, LookupError, TypeError):
        yield f"{CONFIG} is damaged: expected an object with config and inputs"
        return
    for name in ("format", "resolution"):
        if not isinstance(config, dict) or config.get(name) != getattr(manifest, name):
            yield f"{CONFIG} and {MANIFEST} have different values of {name}"
    if inputs != {source.sha256 for source in manifest.sources}:
        yield f"{CONFIG} and {MANIFEST} name different sources"


def _card(root: Path, manifest: Manifest) -> Iterator[str]:
    """Problems of the card that make the `datasets` library take another dataset for this one."""
    if (root / CARD).is_file():
        text = (root / CARD).read_text(encoding="utf-8", errors="replace")
        yield from problems_with_card(text, manifest.task, (root / MANIFEST).read_bytes())


def _sources(manifest: Manifest) -> Iterator[str]:
    split = {source.sha256: source.split for source in manifest.sources if source.split is not None}
    for shard in manifest.shards:
        if split.get(shard.source_digest) != shard.split:
            yield f"shard {shard.name}: its source belongs to {split.get(shard.source_digest)}, not {shard.split}"
        if shard.path is not None and shard.path != str(shard_path(manifest.format, shard.split, shard.name)):
            yield f"shard {shard.name}: its path {shard.path} does not fit its name and the split {shard.split}"
    for name in ("clips", "pairs"):
        total = sum(getattr(shard, name) for shard in manifest.shards)
        if getattr(manifest, name) != total:
            yield f"{MANIFEST} states {getattr(manifest, name)} {name}, its shards hold {total}"


def shard_problems(root: Path, format: Format, shard: ShardRecord) -> Iterator[str]:
    """Compare the files of a shard that has some with their checksums; yields a sentence for each problem.

    Args:
        root: the dataset.
        format: format of the dataset.
        shard: its record.

    Raises:
        OSError: a file cannot be read.
    """
    path = root / str(shard.path)
    if format == "webdataset":
        if _sha256(path) != shard.sha256:
            yield f"{shard.path} was changed: its checksum differs from the one in {MANIFEST}"
        return
    sums = path / CHECKSUMS
    if not sums.is_file():
        yield f"{shard.path}/{CHECKSUMS} is missing"
        return
    if _sha256(sums) != shard.sha256:
        yield f"{shard.path}/{CHECKSUMS} was changed: its checksum differs from the one in {MANIFEST}"
    stated = {}
    if sums.stat().st_size > LARGEST_TEXT:
        yield f"{shard.path}/{CHECKSUMS} is larger than {LARGEST_TEXT >> 20} MB"
        return
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if not is_safe(name):
            yield f"{shard.path}/{CHECKSUMS} names {name!r}, not a file in the shard"
        else:
            stated[name] = digest
    names = (file.relative_to(path) for file in path.rglob("*"))
    found = {name.as_posix() for name in names if not any(map(is_litter, name.parts))} - {CHECKSUMS}
    yield from (f"{shard.path}/{name} is missing" for name in sorted(stated.keys() - found))
    yield from (f"{shard.path}/{name} is not part of the dataset" for name in sorted(found - stated.keys()))
    for name in sorted(stated.keys() & found):
        if (path / name).is_symlink() or not (path / name).is_file():
            yield f"{shard.path}/{name} is not a plain file"
        elif _sha256(path / name) != stated[name]:
            yield f"{shard.path}/{name} was changed: its checksum differs from the one in {CHECKSUMS}"
    if METADATA not in stated:
        yield f"{shard.path}/{CHECKSUMS} does not list {METADATA}"


def _sha256(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _shown(value: object) -> str:
    """A value of a row in a sentence: short, on one line, without signs that control a terminal."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 80 else reprlib.repr(text)


def _sample(sample: Sample, manifest: Manifest) -> Iterator[str]:
    """Problems of one pair: of its row, then of its pictures."""
    row, shard = sample.row, sample.shard
    label = f"frame {_shown(row.get('frame_index'))} of clip {_shown(row.get('clip_id'))}"
    for name, kind in COLUMNS.items():
        value = row.get(name)
        if type(value) is not kind or (isinstance(value, int) and abs(value) >= 2**63):
            yield f"{label}: {name} must be {kind.__name__}, found {reprlib.repr(value)}"
    own = {name: type(value).__name__ for name, value in row.items() if name not in COLUMNS}
    if own != shard.columns:
        yield f"{label}: the task's columns must be {shard.columns}, found {reprlib.repr(own)}"
    if row.get("source_digest") != shard.source_digest:
        yield f"{label}: its source_digest differs from that of its shard"
    try:
        image, conditioning_image, mask = (sample.picture(name) for name in ("image", "conditioning_image", "mask"))
    except InputError as error:
        yield str(error)
        return
    size = (manifest.resolution, manifest.resolution)
    if any(picture.shape[:2] != size for picture in (image, conditioning_image, mask)):
        shapes = sorted({picture.shape[:2] for picture in (image, conditioning_image, mask)})
        yield f"{label}: every picture must be {size[0]}x{size[1]}, found sizes {shapes}"
        return
    difference = image ^ conditioning_image
    outside = np.count_nonzero((difference[..., 0] | difference[..., 1] | difference[..., 2]) * ~mask)
    if outside:
        yield f"{label}: {outside} pixels differ outside the mask"
    if row.get("mask_area") != np.count_nonzero(mask):
        yield f"{label}: mask_area is {_shown(row.get('mask_area'))}, but the mask has {np.count_nonzero(mask)} pixels"
