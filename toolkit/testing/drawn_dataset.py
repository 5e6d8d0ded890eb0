"""Write a small dataset of drawn pictures with the real writer. Needs no video, no face and no model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.dataset.card import render_card
from toolkit.dataset.layout import (
    CARD,
    CONFIG,
    MANIFEST,
    PICTURES,
    PREVIEW,
    Format,
    Manifest,
    ShardRecord,
    SourceRecord,
    Split,
    manifest_bytes,
    shard_name,
    shard_path,
)
from toolkit.dataset.png import encode_png
from toolkit.dataset.preview import render_preview
from toolkit.dataset.writer import open_shard
from toolkit.files import dump_json, write_bytes, write_text

SOURCES: Mapping[str, Split] = {"alice.mp4": "train", "bob.mp4": "train", "carol.mp4": "validation"}
CLIPS = 2
"""Clips per source."""


def drawn_dataset(
    folder: str | Path,
    *,
    format: Format = "imagefolder",
    resolution: int = 64,
    frames: int = 4,
    sources: Mapping[str, Split] = SOURCES,
    task: str = "blot",
    inpainted: bool = False,
) -> Path:
    """Write a valid dataset of pictures with a round blot, and return its path.

    The same arguments write the same bytes.

    Args:
        folder: created if it does not exist.
        resolution: side of the pictures in pixels.
        frames: pairs per clip; each source has `CLIPS` clips.
        sources: names and splits of the sources.
        task: name of the task.
        inpainted: name a backbone in the config, as builds that inpaint do.
    """
    root = Path(folder)
    shards, records, inputs = [], [], []
    for source, split in sources.items():
        digest = hashlib.sha256(f"{task} {source}".encode()).hexdigest()
        shards.append(_write_shard(root, format, split, source, digest, resolution, frames, task))
        inputs.append({"name": source, "sha256": digest})
        counts = {"frames": CLIPS * frames, "clips": CLIPS, "pairs": CLIPS * frames}
        records.append(SourceRecord(name=source, sha256=digest, split=split, status="ok", reason=None, **counts))
    (root / "tmp").rmdir()
    manifest = Manifest(
        format=format,
        task=task,
        resolution=resolution,
        clips=CLIPS * len(sources),
        pairs=CLIPS * frames * len(sources),
        sources=records,
        shards=shards,
    )
    config: dict[str, Any] = {
        "config": {"task": task, "format": format, "resolution": resolution},
        "versions": {},
        "inputs": inputs,
    }
    if inpainted:
        config["backbone"] = {"name": "drawn", "parts": {}}
    write_text(root / CONFIG, dump_json(config))
    write_bytes(root / MANIFEST, manifest_bytes(manifest))
    write_text(root / CARD, render_card(manifest, "A blot.", _text(task)))
    write_bytes(root / PREVIEW, encode_png(render_preview(root, manifest)))
    return root


def _text(task: str) -> str:
    return f"a face, naïve and without a {task}"


def _write_shard(
    root: Path, format: Format, split: Split, source: str, digest: str, side: int, frames: int, task: str
) -> ShardRecord:
    rng = np.random.default_rng(int(digest[:8], 16))
    name = shard_name(source, digest, 0)
    writer = open_shard(root, root / "tmp", format, split, name)
    for start in range(0, CLIPS * frames, frames):
        clip = f"{digest[:12]}-{start:07d}-00"
        for index in range(start, start + frames):
            pictures = _pair(rng, side)
            row = {
                "text": _text(task),
                "task": task,
                "clip_id": clip,
                "frame_index": index,
                "time": index / 25,
                "source": source,
                "source_digest": digest,
                "face_box": [10.0, 10.0, 50.0, 50.0],
                "crop_box": [0.0, 0.0, float(side), float(side)],
                "seed": 0,
                "mask_area": int(pictures["mask"].sum()),
                "size": 0.5,
            }
            writer.add(f"{clip}-{index:07d}", {key: encode_png(pictures[key]) for key in PICTURES}, row)
    counts = {"frames": CLIPS * frames, "frames_with_face": CLIPS * frames, "clips": CLIPS, "pairs": CLIPS * frames}
    return ShardRecord(
        name=name,
        split=split,
        source_digest=digest,
        path=str(shard_path(format, split, name)),
        sha256=writer.commit(),
        columns={"size": "float"},
        dropped={},
        **counts,
    )


def _pair(rng: np.random.Generator, side: int) -> dict[str, np.ndarray]:
    """A grainy gradient, and the same with a blot of another colour."""
    image = np.cumsum(rng.integers(0, 5 * 64 // side + 1, (side, side, 3)), axis=1).clip(0, 255).astype(np.uint8)
    y, x = np.mgrid[:side, :side] / side
    cy, cx = rng.uniform(0.3, 0.7, 2)
    mask = (x - cx) ** 2 + (y - cy) ** 2 < 0.025
    edited = image.copy()
    edited[mask] ^= 0x55
    return {"image": image, "conditioning_image": edited, "mask": mask}
