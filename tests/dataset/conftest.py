"""Small datasets of either format, written by the writer itself: four clips of a drawn blot, no video, no face."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from toolkit.dataset.card import render_card
from toolkit.dataset.layout import (
    CARD,
    CONFIG,
    MANIFEST,
    PICTURES,
    PREVIEW,
    Manifest,
    ShardRecord,
    SourceRecord,
    dump_json,
    shard_path,
)
from toolkit.dataset.png import encode_png
from toolkit.dataset.preview import render_preview
from toolkit.dataset.writer import open_shard

SIDE, FRAMES = 64, 4
SOURCES = {"alice.mp4": "train", "bob.mp4": "train", "carol.mp4": "validation"}


def drawn_pair(rng):
    """image, conditioning_image and mask with a blot somewhere."""
    image = np.cumsum(rng.integers(0, 5, (SIDE, SIDE, 3)), axis=1).astype(np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    cy, cx = rng.integers(20, 44, 2)
    mask = (x - cx) ** 2 + (y - cy) ** 2 < 100
    edited = image.copy()
    edited[mask] ^= 0x55
    return {"image": image, "conditioning_image": edited, "mask": mask}


def write_shard(root, work, format, split, name, source, digest):
    """One shard with two clips of a source; its record."""
    rng = np.random.default_rng(int(digest[:8], 16))
    writer = open_shard(root, work, format, split, name)
    for start in (0, FRAMES):
        clip = f"{digest[:12]}-{start:07d}-00"
        for index in range(start, start + FRAMES):
            pictures = drawn_pair(rng)
            row = {
                "text": "a face, naïve and without a blot",
                "task": "blot",
                "clip_id": clip,
                "frame_index": index,
                "time": index / 25,
                "source": source,
                "source_digest": digest,
                "face_box": [10.0, 10.0, 50.0, 50.0],
                "crop_box": [0.0, 0.0, 64.0, 64.0],
                "seed": 0,
                "mask_area": int(pictures["mask"].sum()),
                "size": 0.5,
            }
            writer.add(f"{clip}-{index:07d}", {key: encode_png(pictures[key]) for key in PICTURES}, row)
    return ShardRecord(
        name=name,
        split=split,
        source_digest=digest,
        path=str(shard_path(format, split, name)),
        sha256=writer.commit(),
        frames=2 * FRAMES,
        frames_with_face=2 * FRAMES,
        clips=2,
        pairs=2 * FRAMES,
        columns={"size": "float"},
        dropped={},
    )


def write_dataset(root: Path, format: str) -> Path:
    shards, sources, inputs = [], [], []
    for source, split in SOURCES.items():
        digest = hashlib.sha256(source.encode()).hexdigest()
        name = f"{Path(source).stem}-{digest[:12]}-0000"
        shards.append(write_shard(root, root / "tmp", format, split, name, source, digest))
        inputs.append({"name": source, "sha256": digest})
        sources.append(
            SourceRecord(name=source, sha256=digest, split=split, status="ok", reason=None, frames=8, clips=2, pairs=8)
        )
    (root / "tmp").rmdir()
    manifest = Manifest(format=format, task="blot", resolution=SIDE, clips=6, pairs=24, sources=sources, shards=shards)
    config = {"config": {"task": "blot", "format": format, "resolution": SIDE}, "versions": {}, "inputs": inputs}
    (root / CONFIG).write_text(dump_json(config), encoding="utf-8")
    (root / MANIFEST).write_text(dump_json(manifest.model_dump(mode="json")), encoding="utf-8")
    (root / CARD).write_text(render_card(manifest, "A blot.", "a face without a blot"), encoding="utf-8")
    (root / PREVIEW).write_bytes(encode_png(render_preview(root, manifest)))
    return root


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """Datasets by format; nobody changes them."""
    root = tmp_path_factory.mktemp("datasets")
    return {format: write_dataset(root / format, format) for format in ("imagefolder", "webdataset")}


@pytest.fixture(params=["imagefolder", "webdataset"])
def original(request, originals):
    """A dataset of each format; not to be changed."""
    return originals[request.param]


@pytest.fixture
def copy(originals, tmp_path):
    """A function that copies a dataset of a format to spoil it."""
    return lambda format: Path(shutil.copytree(originals[format], tmp_path / format))


@pytest.fixture
def offline(monkeypatch, tmp_path_factory):
    """The datasets library with a cache of its own and no way out."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    yield cache
    datasets.enable_progress_bars()
