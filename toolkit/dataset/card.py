"""Writes the data card: a README.md that describes a dataset to people and to the `datasets` library."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

import yaml

from toolkit.dataset.layout import CARD, COLUMNS, CONFIG, MANIFEST, PREVIEW, SPLITS, Manifest, manifest_bytes
from toolkit.words import counted, markdown_text

_MEANING = {
    "text": "prompt: describes the face without the attribute",
    "task": "name of the attribute task",
    "clip_id": "clip of the frame: consecutive frames of one face",
    "frame_index": "index of the frame in the source video, from 0",
    "time": "time of the frame in seconds",
    "source": "name of the source video",
    "source_digest": "SHA-256 of the source video",
    "face_box": "x0, y0, x1, y1 of the face in pixels of the source video",
    "crop_box": "x0, y0, x1, y1 of the crop in pixels of the source video",
    "seed": "random seed of the build",
    "mask_area": "size of the mask in pixels",
}

_FRONT = """---
pretty_name: Pairs for the task {task}
task_categories:
- image-to-image
tags:
- vlasik-toolkit
size_categories:
- {size}
dataset_info:
  description: {identity}
---
"""

_BODY = """
# Pairs for the task `{task}`

{description}

Each row is one frame of a face: `conditioning_image` shows the attribute, `image` does not, and `mask` marks where they
differ. Outside the mask, both pictures are equal to the last bit. Each source video belongs to a single split.

![Frames of some clips: image, conditioning_image and mask]({preview})

| split | clips | pairs | videos |
|---|---:|---:|---:|
{counts}

The pictures are {resolution}x{resolution} pixels. The prompt is "{prompt}".

## Columns

| column | meaning |
|---|---|
| `image` | RGB picture without the attribute |
| `conditioning_image` | RGB picture with the attribute |
| `mask` | greyscale picture: 255 where they differ, else 0 |
{columns}

## Loading

{loading}

## How it was made

`toolkit build-dataset` made this dataset. `{config}` records all settings, package versions, the seed and the checksums
of the source videos. `{manifest}` lists the videos and the shards with their checksums. {used}

## Sharing

The pictures may show real people. Share this dataset only if you may share the videos that it was made from.
"""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))

_IMAGEFOLDER = """```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder")
```

The column names fit diffusers' `train_controlnet.py`: pass `--train_data_dir path/to/this/folder`."""

_WEBDATASET = """```python
from datasets import load_dataset
import webdataset

dataset = load_dataset("path/to/this/folder")  # columns image.png, conditioning_image.png, mask.png, txt, json
samples = webdataset.WebDataset("path/to/this/folder/data/train-NAME.tar", shardshuffle=False).decode("rgb8")
```"""


def render_card(manifest: Manifest, description: str, prompt: str) -> str:
    """Write the card.

    Args:
        manifest: contents of the dataset.
        description: one sentence about the task.
        prompt: the prompt of the task.
    """
    clips: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for shard in manifest.shards:
        clips[shard.split] += shard.clips
        pairs[shard.split] += shard.pairs
    sources = Counter(source.split for source in manifest.sources if source.pairs)
    splits = [split for split in SPLITS if pairs[split]]
    own = next((list(shard.columns) for shard in manifest.shards if shard.pairs), [])
    meanings = [(name, _MEANING[name]) for name in COLUMNS] + [(name, "added by the task") for name in own]
    front = _FRONT.format(
        task=manifest.task,
        size=next((name for limit, name in _SIZES if manifest.pairs < limit), "10M<n<100M"),
        identity=identity(manifest.task, manifest_bytes(manifest)),
    )
    return front + _BODY.format(
        task=manifest.task,
        description=markdown_text(description),
        prompt=markdown_text(prompt),
        preview=PREVIEW,
        config=CONFIG,
        manifest=MANIFEST,
        resolution=manifest.resolution,
        counts="\n".join(f"| {split} | {clips[split]} | {pairs[split]} | {sources[split]} |" for split in splits),
        columns="\n".join(f"| `{name}` | {meaning} |" for name, meaning in meanings),
        loading=_WEBDATASET if manifest.format == "webdataset" else _IMAGEFOLDER,
        used=_used(manifest),
    )


def identity(task: str, manifest: bytes) -> str:
    """The description of a dataset in its card, unique to its content.

    The `datasets` library keeps what it has read, by a key that covers this description and the paths and times of the
    data files. It finds the splits by the names of the files. A card that named them (``configs``) would take paths and
    times out of the key, and every other folder of the same name would give the rows of the first.

    Args:
        task: name of the task.
        manifest: content of `manifest.json`, which holds the checksums of the shards.
    """
    return f"Pairs for the task {task}, manifest SHA-256 {hashlib.sha256(manifest).hexdigest()}"


def problems_with_card(text: str, task: str, manifest: bytes) -> Iterator[str]:
    """Why the `datasets` library could take another dataset for this one, one sentence each."""
    front = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", text, re.DOTALL)
    try:
        values = yaml.safe_load(front[1]) if front else None
    except (yaml.YAMLError, RecursionError, ValueError):
        values = None
    if not isinstance(values, dict):
        yield f"{CARD} has no readable front matter, so `datasets.load_dataset` knows nothing about the content"
        return
    if values.get("configs"):
        yield (
            f"{CARD} names the files of the splits, so `datasets.load_dataset` may return rows of another folder of "
            "this name that it read before; delete `configs` and what belongs to it from the front matter"
        )
    info, expected = values.get("dataset_info"), identity(task, manifest)
    found = info.get("description") if isinstance(info, dict) else None
    if found != expected:
        yield (
            f"{CARD} describes other content, so `datasets.load_dataset` may return rows that it read before; set "
            f"`description` of `dataset_info` in the front matter to: {expected}"
        )


def _used(manifest: Manifest) -> str:
    videos = counted(len(manifest.sources), "videos")
    left_out = sum(not source.pairs for source in manifest.sources)
    if not left_out:
        return "All videos gave pairs."
    return f"{left_out} of {videos} gave no pairs; `{MANIFEST}` gives the reasons."
