"""The datasets of a finetuning: opened, compared with each other and with the backbone, and checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.dataset.check import check_dataset
from toolkit.dataset.layout import CONFIG, MANIFEST, Manifest, Split
from toolkit.dataset.reader import Sample, read_manifest, read_samples
from toolkit.errors import InputError, UsageError

_SHOWN = 3


@dataclass(frozen=True)
class TrainingSet:
    """One dataset.

    Attributes:
        digest: sha256 of its manifest, which holds the checksums of all shards.
        perfect: whether its pictures without the attribute are true, because the attribute was drawn; False where
            they were inpainted.
    """

    root: Path
    manifest: Manifest
    digest: str
    perfect: bool

    def count(self, split: Split) -> int:
        """Pairs of a split."""
        return sum(shard.pairs for shard in self.manifest.shards if shard.split == split)

    def samples(self, split: Split) -> Iterator[Sample]:
        """The pairs of a split, one after the other, in the manifest's order."""
        return read_samples(self.root, split, self.manifest)


def open_datasets(roots: Sequence[Path], resolution: int, pairs: str = "auto") -> list[TrainingSet]:
    """Open datasets to train on.

    Args:
        resolution: side in pixels that their pictures must have.
        pairs: ``perfect``, ``imperfect``, or ``auto``: imperfect where the build's config names a backbone.

    Raises:
        InputError: a folder is no dataset, or is damaged.
        UsageError: the same dataset twice, another resolution, nothing to train on, or nothing held out.
    """
    opened = [_open(Path(root), pairs) for root in roots]
    digests: dict[str, Path] = {}
    for dataset in opened:
        if dataset.digest in digests:
            raise UsageError(f"{digests[dataset.digest]} and {dataset.root} are the same dataset; name it once")
        digests[dataset.digest] = dataset.root
        side = dataset.manifest.resolution
        if side != resolution:
            raise UsageError(
                f"the pictures of {dataset.root} have {side} pixels, and the remover is trained at {resolution}; build "
                f"the dataset with --resolution {resolution}, or name --resolution {side} here"
            )
        if not dataset.count("train"):
            raise UsageError(f"the dataset {dataset.root} has no pairs to train on; build it from more videos")
    if not any(dataset.count("validation") for dataset in opened):
        raise UsageError(
            f"nothing is held out in {', '.join(str(dataset.root) for dataset in opened)}, so nobody could tell when "
            "to stop; build a dataset from videos of more people, with --validation-fraction over 0"
        )
    return opened


def require_sound(dataset: TrainingSet) -> None:
    """Read all of a dataset, as `toolkit dataset check` does.

    Raises:
        InputError: something is wrong with it; the sentence has the first problems.
    """
    problems = check_dataset(dataset.root).problems
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(f"the dataset {dataset.root} is not sound: {shown}{more}; build it again")


def held_out(datasets: Sequence[TrainingSet], count: int) -> list[tuple[TrainingSet, Sample]]:
    """Pairs of the validation splits at even steps, each with a mask; fewer where there are fewer.

    Every dataset that holds something out gives an equal share.
    """
    have = [dataset for dataset in datasets if dataset.count("validation")]
    chosen = []
    for number, dataset in enumerate(have):
        total = dataset.count("validation")
        share = min(count // len(have) + (number < count % len(have)), total)
        wanted = {int((k + 0.5) * total / share) for k in range(share)}
        owed = 0
        for place, sample in enumerate(dataset.samples("validation")):
            owed += place in wanted
            if owed and sample.row.get("mask_area"):
                chosen.append((dataset, sample))
                owed -= 1
    return chosen


def _open(root: Path, pairs: str) -> TrainingSet:
    manifest = read_manifest(root)
    digest = hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
    return TrainingSet(root, manifest, digest, not _inpainted(root) if pairs == "auto" else pairs == "perfect")


def _inpainted(root: Path) -> bool:
    """Whether a model made the pictures without the attribute: its identity is in the build's config then."""
    try:
        document = json.loads((root / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{root / CONFIG} cannot be read: {error}; build the dataset again") from error
    return isinstance(document, dict) and "backbone" in document
