"""The data card: README.md with the front matter that tells the `datasets` library where the splits are."""

from __future__ import annotations

from collections import Counter

from toolkit.dataset.layout import COLUMNS, CONFIG, DATA, MANIFEST, PREVIEW, SPLITS, Manifest

_MEANING = {
    "text": "the prompt, which describes the face without the attribute",
    "task": "name of the attribute task",
    "clip_id": "the clip that the frame belongs to",
    "frame_index": "number of the frame in the source",
    "time": "its presentation time in seconds",
    "source": "name of the source",
    "source_digest": "sha256 of the source",
    "face_box": "x0, y0, x1, y1 of the face in pixels of the source",
    "crop_box": "x0, y0, x1, y1 of the crop in pixels of the source",
    "seed": "seed of the build",
    "mask_area": "pixels of the mask",
}

_FRONT = """---
pretty_name: Pairs for the task {task}
task_categories:
- image-to-image
tags:
- vlasik-toolkit
size_categories:
- {size}
configs:
- config_name: default
  data_files:
{files}
---
"""

_BODY = """
# Pairs for the task `{task}`

{description} Each row is one frame of a face: `image` without the attribute, `conditioning_image` with it, and
`mask` where they differ. Outside the mask the two pictures are equal to the last bit. Every clip shows one face;
whole sources belong to one split.

![preview]({preview})

| split | clips | pairs | sources |
|---|---:|---:|---:|
{counts}

Crops are {resolution}x{resolution} pixels. Prompt: "{prompt}"

## Columns

| column | meaning |
|---|---|
| `image`, `conditioning_image` | RGB pictures |
| `mask` | greyscale, 0 or 255 |
{columns}

{loading}

`{config}` has every setting, version, seed and source digest; `{manifest}` lists sources and shards with checksums.
{left_out} of {sources} sources were left out; `{manifest}` says why.

The pictures show real people. Whoever shares this dataset needs the right to share the videos that it was made from.
"""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))

_IMAGEFOLDER = """```python
from datasets import load_dataset

dataset = load_dataset("path/to/this/folder")
```

The names of the columns are those of diffusers' `train_controlnet.py`, which trains on
`--train_data_dir path/to/this/folder`."""

_WEBDATASET = """```python
from datasets import load_dataset
import webdataset

dataset = load_dataset("path/to/this/folder")  # columns image.png, conditioning_image.png, mask.png, txt, json
samples = webdataset.WebDataset("path/to/this/folder/data/train-NAME.tar", shardshuffle=False).decode("rgb8")
```"""


def render_card(manifest: Manifest, description: str, prompt: str) -> str:
    """The text of README.md for a dataset."""
    clips: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for shard in manifest.shards:
        clips[shard.split] += shard.clips
        pairs[shard.split] += shard.pairs
    sources = Counter(source.split for source in manifest.sources if source.pairs)
    splits = [split for split in SPLITS if pairs[split]]
    pattern = f"{DATA}/{{}}-*.tar" if manifest.format == "webdataset" else f"{DATA}/{{}}/**"
    own = next((list(shard.columns) for shard in manifest.shards if shard.pairs), [])
    meanings = [(name, _MEANING[name]) for name in COLUMNS] + [(name, "the task's own") for name in own]
    front = _FRONT.format(
        task=manifest.task,
        size=next((name for limit, name in _SIZES if manifest.pairs < limit), "10M<n<100M"),
        files="\n".join(f"  - split: {split}\n    path: {pattern.format(split)}" for split in splits),
    )
    return front + _BODY.format(
        task=manifest.task,
        description=description,
        prompt=prompt,
        preview=PREVIEW,
        config=CONFIG,
        manifest=MANIFEST,
        resolution=manifest.resolution,
        counts="\n".join(f"| {split} | {clips[split]} | {pairs[split]} | {sources[split]} |" for split in splits),
        columns="\n".join(f"| `{name}` | {meaning} |" for name, meaning in meanings),
        loading=_WEBDATASET if manifest.format == "webdataset" else _IMAGEFOLDER,
        left_out=sum(not source.pairs for source in manifest.sources),
        sources=len(manifest.sources),
    )
