"""Opens the datasets of a finetuning, and checks that they fit each other and the backbone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.dataset.check import check_dataset
from toolkit.dataset.layout import CONFIG, MANIFEST, Manifest, Split
from toolkit.dataset.reader import Sample, read_manifest, read_samples
from toolkit.errors import InputError, UsageError
from toolkit.files import read_json, sha256_of

_SHOWN = 3


@dataclass(frozen=True)
class TrainingSet:
    """One dataset.

    Attributes:
        digest: sha256 of its manifest, which holds the checksums of all shards.
        perfect: True if the pictures without the attribute are real because the attribute was drawn, False if they
            were inpainted.
    """

    root: Path
    manifest: Manifest
    digest: str
    perfect: bool

    def count(self, split: Split) -> int:
        """The number of pairs in a split."""
        return sum(shard.pairs for shard in self.manifest.shards if shard.split == split)

    def samples(self, split: Split) -> Iterator[Sample]:
        """The pairs of a split, in the manifest's order."""
        return read_samples(self.root, split, self.manifest)


def open_datasets(roots: Sequence[Path], resolution: int, pairs: str = "auto") -> list[TrainingSet]:
    """Open datasets to train on.

    Args:
        resolution: side in pixels that their pictures must have.
        pairs: ``perfect``, ``imperfect``, or ``auto``: imperfect if the build's config names a backbone.

    Raises:
        InputError: a folder is no dataset, or is damaged.
        UsageError: a dataset is named twice or has another resolution, or there are no pairs to train on or to
            validate with.
    """
    opened = [_open(Path(root), pairs) for root in roots]
    digests: dict[str, Path] = {}
    for dataset in opened:
        if dataset.digest in digests:
            raise UsageError(f"{digests[dataset.digest]} and {dataset.root} are the same dataset; name it only once")
        digests[dataset.digest] = dataset.root
        side = dataset.manifest.resolution
        if side != resolution:
            raise UsageError(
                f"the pictures of {dataset.root} have {side} pixels, and the remover is trained at {resolution}; build "
                f"the dataset with --resolution {resolution}, or train with --resolution {side}"
            )
        if not dataset.count("train"):
            raise UsageError(f"the dataset {dataset.root} has no pairs to train on; build it from more videos")
    _require_parted(opened)
    if not any(dataset.count("validation") for dataset in opened):
        raise UsageError(
            f"nothing is held out in {', '.join(str(dataset.root) for dataset in opened)}, and training needs held-out "
            "pairs to know when to stop; build a dataset from videos of more people with --validation-fraction above 0"
        )
    return opened


def _require_parted(datasets: Sequence[TrainingSet]) -> None:
    """
    Raises:
        UsageError: a source is trained on in one dataset and held out in another.
    """
    homes: dict[str, dict[str, TrainingSet]] = {"train": {}, "validation": {}}
    for dataset in datasets:
        for shard in dataset.manifest.shards:
            if shard.pairs:
                homes[shard.split].setdefault(shard.source_digest, dataset)
    for digest in homes["train"].keys() & homes["validation"].keys():
        name = next(source.name for source in homes["train"][digest].manifest.sources if source.sha256 == digest)
        raise UsageError(
            f"the source {name} is trained on in {homes['train'][digest].root} and held out in "
            f"{homes['validation'][digest].root}, which makes the validation meaningless; build both with the same "
            "--seed"
        )


def fingerprint(dataset: TrainingSet) -> str:
    """A digest of the names, sizes and times of a dataset's files, to notice that one was changed."""
    total = hashlib.sha256(dataset.digest.encode())
    for path in sorted(dataset.root.rglob("*")):
        status = path.lstat()
        total.update(f"{path.relative_to(dataset.root)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return total.hexdigest()


def picture_of(sample: Sample, name: str, side: int) -> np.ndarray:
    """A picture of a pair, as `Sample.picture` reads it.

    Args:
        side: the width and height that it must have.

    Raises:
        InputError: it cannot be read, or has another size.
    """
    picture = sample.picture(name)
    if picture.shape[:2] != (side, side):
        raise InputError(
            f"the {name} {sample.blobs[name].path} must be {side}x{side}, found {picture.shape[1]}x{picture.shape[0]}; "
            "run `toolkit dataset check`"
        )
    return picture


def require_sound(dataset: TrainingSet) -> None:
    """Check a whole dataset, as `toolkit dataset check` does.

    Raises:
        InputError: it has problems; the message states the first ones.
    """
    problems = check_dataset(dataset.root).problems
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"the dataset {dataset.root} is not sound: {shown}{more}; build it again")


def held_out(datasets: Sequence[TrainingSet], count: int) -> list[tuple[TrainingSet, Sample]]:
    """Choose up to `count` pairs with a mask from the validation splits, evenly spaced.

    Every dataset with a validation split provides an equal share.

    Raises:
        UsageError: no held-out pair has a mask.
    """
    have = [dataset for dataset in datasets if dataset.count("validation")]
    chosen = []
    for number, dataset in enumerate(have):
        total = dataset.count("validation")
        share = min(count // len(have) + (number < count % len(have)), total)
        wanted = {int((k + 0.5) * total / share) for k in range(share)}
        owed = 0
        for index, sample in enumerate(dataset.samples("validation")):
            owed += index in wanted
            if owed and sample.row.get("mask_area"):
                chosen.append((dataset, sample))
                owed -= 1
    if not chosen:
        raise UsageError(
            "no held-out pair has a mask, so validation cannot measure anything; build the dataset from more videos"
        )
    return chosen


def _open(root: Path, pairs: str) -> TrainingSet:
    manifest = read_manifest(root)
    digest = sha256_of(root / MANIFEST)
    return TrainingSet(root, manifest, digest, not _inpainted(root) if pairs == "auto" else pairs == "perfect")


def _inpainted(root: Path) -> bool:
    """Whether a model made the pictures without the attribute; the build's config then has its identity."""
    try:
        document = read_json(root / CONFIG)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{root / CONFIG} cannot be read: {error}; build the dataset again") from error
    return isinstance(document, dict) and "backbone" in document
