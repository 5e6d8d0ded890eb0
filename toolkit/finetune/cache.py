"""Encoded pictures and prompts on disk, written once: training needs neither the VAE nor the text encoder.

The folder of a cache is named by a digest of what its content depends on: datasets, VAE, text encoder, augmentation,
number format. In it lie the index of pairs, the latents in files of `CHUNK` entries, and the encoded prompts. An entry
is the posterior's mean and standard deviation and the cells that the mask touches. Whatever is there is complete: a
build that was interrupted goes on with the next file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from toolkit.backbones import Backbone, BackboneSpec, identity
from toolkit.backbones.compatible import cell_size
from toolkit.dataset.layout import dump_json
from toolkit.files import locked
from toolkit.finetune.augment import augmented
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, fingerprint, picture_of, require_sound
from toolkit.finetune.encode import cover, encode_pictures, encode_prompts, pixels
from toolkit.finetune.index import PairIndex, write_index

CHUNK = 256
"""Entries per file."""

SCHEMA = 1
_ABOUT, _PROMPTS, _SOUND = "cache.json", "prompts.safetensors", "sound"


@dataclass(frozen=True)
class Encoded:
    """One entry: `mean` and `std` ``[C, h, w]``, not scaled, and `cells` float32 ``[1, h, w]``, 0 or 1."""

    mean: torch.Tensor
    std: torch.Tensor
    cells: torch.Tensor


class LatentCache:
    """Of a pair's versions: entry ``variant * len(index) + number``.

    Args:
        kept: whether entries lie on disk: ``on``, ``off``, or ``auto``, where they are smaller than the pictures, as
            those of a VAE are. Otherwise pictures are encoded when they are trained on.

    Attributes:
        kept: whether they do.
        shape: of the latents, ``(C, h, w)``.
    """

    def __init__(
        self,
        folder: Path,
        index: PairIndex,
        variants: int,
        shape: tuple[int, int, int],
        dtype: torch.dtype,
        kept: str = "on",
    ):
        self._folder, self.shape, self._dtype = folder, shape, dtype
        self.index, self.variants = index, variants
        channels, height, width = shape
        self._floats = channels * height * width * dtype.itemsize
        self.entry_bytes = 2 * self._floats + height * width
        self.kept = kept == "on" or (kept == "auto" and self.entry_bytes < 3 * index.resolution**2)
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return self.variants * len(self.index)

    @property
    def chunks(self) -> range:
        """Numbers of the files."""
        return range(-(-len(self) // CHUNK))

    def path(self, chunk: int) -> Path:
        return self._folder / f"latents-{chunk:06d}.bin"

    def entries(self, chunk: int) -> range:
        """Numbers of the entries in a file."""
        return range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self)))

    def is_complete(self, chunk: int) -> bool:
        """Whether a file is there with the size that it must have."""
        path = self.path(chunk)
        return path.is_file() and path.stat().st_size == len(self.entries(chunk)) * self.entry_bytes

    def read(self, number: int, variant: int) -> Encoded:
        """The version of a pair, from disk."""
        chunk, place = divmod(variant * len(self.index) + number, CHUNK)
        if chunk not in self._files:
            if len(self._files) > 64:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[chunk] = os.open(self.path(chunk), os.O_RDONLY)
        # Plain reads: pages of a memory map would count as memory of the process.
        data = bytearray(os.pread(self._files[chunk], self.entry_bytes, place * self.entry_bytes))
        count = self._floats // self._dtype.itemsize
        mean = torch.frombuffer(data, dtype=self._dtype, count=count)
        std = torch.frombuffer(data, dtype=self._dtype, count=count, offset=self._floats)
        cells = torch.frombuffer(data, dtype=torch.uint8, offset=2 * self._floats)
        return Encoded(mean.view(self.shape), std.view(self.shape), cells.view(1, *self.shape[1:]).float())

    def write(self, chunk: int, entries: Iterator[Encoded]) -> None:
        """Write a file; it appears when it is whole."""
        temporary = self.path(chunk).with_suffix(f".part{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                for entry in entries:
                    for tensor in (entry.mean, entry.std, entry.cells.to(torch.uint8)):
                        file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())
            temporary.replace(self.path(chunk))
        finally:
            temporary.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # a worker process opens its own


class CacheFolder:
    """Where a run's cache lies, and how it is filled."""

    def __init__(self, config: FinetuneConfig, datasets: Sequence[TrainingSet], spec: BackboneSpec, dtype: torch.dtype):
        encoders = ("vae", "text_encoder", *(("tokenizer",) if spec.tokenizer else ()))
        # What is drawn anew each time is not in the cache.
        augmentation = config.augmentation.model_dump(exclude={"fade", "fill", "fill_parts"})
        self._document = {
            "schema": SCHEMA,
            "datasets": [dataset.digest for dataset in datasets],
            "resolution": datasets[0].manifest.resolution,
            "encoders": identity(spec, encoders)["parts"],
            "augmentation": augmentation if config.augmentation.variants > 1 else None,
            "seed": config.seed if config.augmentation.variants > 1 else None,
            "dtype": str(dtype),
        }
        digest = hashlib.sha256(json.dumps(self._document, sort_keys=True).encode()).hexdigest()
        self.path = (config.cache_dir or config.output / "cache") / digest[:16]
        self._config, self._datasets, self._spec, self._dtype = config, datasets, spec, dtype

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder, so that one training at a time fills it, and clear away what killed ones left.

        Raises:
            UsageError: another one is filling it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        busy = f"another training is filling the cache {self.path}; wait for it, or name another --cache-dir"
        with locked(self.path / ".lock", busy):
            for part in self.path.glob("*.part*"):
                part.unlink()
            yield

    def discard(self) -> None:
        """Remove the cache, and the folder of caches if it was the only one."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()

    def prepare(self, told: Callable[[Path], None] = lambda _: None) -> None:
        """Check the datasets where that was not done before, and index the pairs; by one process.

        Args:
            told: hears of each dataset that is checked.

        Raises:
            InputError: a dataset is not sound.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        # Seen sound before, and no file has changed since.
        seen, now = self.path / _SOUND, "\n".join(fingerprint(dataset) for dataset in self._datasets)
        if self._config.check and not (seen.exists() and seen.read_text() == now):
            for dataset in self._datasets:
                told(dataset.root)
                require_sound(dataset)
            seen.write_text(now)
        if not PairIndex.exists(self.path):
            (self.path / _ABOUT).write_text(dump_json(self._document))
            write_index(self.path, self._datasets)

    def open(self) -> LatentCache:
        """The prepared cache, filled or not."""
        from toolkit.backbones.locations import read_config

        vae = read_config(self._spec, "vae")
        cells = self._document["resolution"] // cell_size(vae)
        shape = vae.get("latent_channels", 4), cells, cells
        index = PairIndex(self.path, self._datasets)
        variants, kept = self._config.augmentation.variants, self._config.cache
        return LatentCache(self.path, index, variants, shape, self._dtype, kept)

    def missing(self, cache: LatentCache) -> list[int]:
        """Files that are still to be made."""
        return [chunk for chunk in cache.chunks if not cache.is_complete(chunk)] if cache.kept else []

    def fill(
        self,
        cache: LatentCache,
        backbone: Backbone,
        chunks: Sequence[int],
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Encode the entries of some files; `told` hears of the numbers of entries that are done.

        Raises:
            InputError: a picture is damaged; the sentence names it.
        """
        for chunk in chunks:
            cache.write(chunk, self._encoded(cache, backbone, cache.entries(chunk), told))

    def _encoded(
        self, cache: LatentCache, backbone: Backbone, entries: range, told: Callable[[int], None]
    ) -> Iterator[Encoded]:
        config = self._config
        cell = cell_size(backbone.vae.config)
        for start in range(entries.start, entries.stop, config.cache_batch_size):
            images, masks = [], []
            for number in range(start, min(start + config.cache_batch_size, entries.stop)):
                variant, pair = divmod(number, len(cache.index))
                entry = cache.index[pair]
                side = cache.index.resolution
                pictures = {name: picture_of(entry.sample, name, side) for name in ("image", "mask")}
                pictures = augmented(pictures, config.augmentation, config.seed, entry.clip_id, variant)
                images.append(pictures["image"])
                masks.append(cover(pictures["mask"], cell))
            mean, std = encode_pictures(backbone, pixels(images))
            for k, cells in enumerate(masks):
                yield Encoded(mean[k].cpu(), std[k].cpu(), cells)
            told(len(images))

    def prompts(self, cache: LatentCache, backbone: Backbone, others: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """The encoded prompts by their texts, each ``[N, D]``: those of the pairs, the empty one where training needs
        it, and `others`."""
        path = self.path / _PROMPTS
        known = load_file(path) if path.exists() else {}
        texts = set(others) | ({""} if self._config.loss.proportion_empty_prompts else set())
        if not known:
            texts |= {cache.index[number].text for number in range(len(cache.index))}
        absent = sorted(text for text in texts if _key(text) not in known)
        if absent:
            known |= {_key(text): states for text, states in encode_prompts(backbone, absent).items()}
            temporary = path.with_suffix(f".part{os.getpid()}")
            temporary.write_bytes(save(known))  # whose errors are those of the file system
            temporary.replace(path)
        return {key.removeprefix(_key("")): states for key, states in known.items()}


def _key(text: str) -> str:
    return f"prompt: {text}"
