"""Caches encoded pictures and prompts on disk, so that training runs neither the VAE nor the text encoder.

A cache's folder is named by a digest of what its content depends on: datasets, VAE, text encoder, augmentation and
number format. It holds the index of pairs, the latents in files of `CHUNK` entries, and the encoded prompts. An entry
consists of the posterior's mean and standard deviation, and the latent cells that the mask touches. Every file is
complete, so an interrupted build resumes with the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from toolkit.backbones import Backbone, BackboneSpec, identity
from toolkit.backbones.compatible import cell_size
from toolkit.files import atomic, dump_json, locked, remove, write_bytes, write_text
from toolkit.finetune.augment import augmented
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.datasets import TrainingSet, fingerprint, picture_of, require_sound
from toolkit.finetune.encode import cover, encode_pictures, encode_prompts, pixels
from toolkit.finetune.index import PairIndex, write_index
from toolkit.progress import Observer

CHUNK = 256
"""Entries in a file."""

SCHEMA = 1
_ABOUT, _PROMPTS, _SOUND = "cache.json", "prompts.safetensors", "sound"


@dataclass(frozen=True)
class Encoded:
    """One entry: `mean` and `std` ``[C, h, w]``, not scaled, and `cells` float32 ``[1, h, w]``, 0 or 1."""

    mean: torch.Tensor
    std: torch.Tensor
    cells: torch.Tensor


class LatentCache:
    """The entries of all pairs in all variants; their order is ``variant * len(index) + number``.

    Args:
        kept: whether entries are kept on disk: ``on``, ``off``, or ``auto``, which keeps them if they are smaller than
            the pictures, as a VAE's are. Pictures without entries are encoded at each training step.

    Attributes:
        kept: whether entries are on disk.
        shape: shape of the latents, ``(C, h, w)``.
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
        """The numbers of the files."""
        return range(-(-len(self) // CHUNK))

    def path(self, chunk: int) -> Path:
        """The file of a number."""
        return self._folder / f"latents-{chunk:06d}.bin"

    def entries(self, chunk: int) -> range:
        """The numbers of the entries in a file."""
        return range(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self)))

    def is_complete(self, chunk: int) -> bool:
        """Whether a file exists and has the right size."""
        path = self.path(chunk)
        return path.is_file() and path.stat().st_size == len(self.entries(chunk)) * self.entry_bytes

    def read(self, number: int, variant: int) -> Encoded:
        """Read the entry of a pair in a variant."""
        chunk, offset = divmod(variant * len(self.index) + number, CHUNK)
        if chunk not in self._files:
            if len(self._files) > 64:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[chunk] = os.open(self.path(chunk), os.O_RDONLY)
        # Plain reads, because the pages of a memory map count towards the memory of the process.
        data = bytearray(os.pread(self._files[chunk], self.entry_bytes, offset * self.entry_bytes))
        count = self._floats // self._dtype.itemsize
        mean = torch.frombuffer(data, dtype=self._dtype, count=count)
        std = torch.frombuffer(data, dtype=self._dtype, count=count, offset=self._floats)
        cells = torch.frombuffer(data, dtype=torch.uint8, offset=2 * self._floats)
        return Encoded(mean.view(self.shape), std.view(self.shape), cells.view(1, *self.shape[1:]).float())

    def write(self, chunk: int, entries: Iterator[Encoded]) -> None:
        """Write a file in one step."""
        with atomic(self.path(chunk), shared=True, durable=True) as staged, staged.open("wb") as file:
            for entry in entries:
                for tensor in (entry.mean, entry.std, entry.cells.to(torch.uint8)):
                    file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # worker processes open their own


class CacheFolder:
    """The folder of a training's cache, and how it is filled."""

    def __init__(self, config: FinetuneConfig, datasets: Sequence[TrainingSet], spec: BackboneSpec, dtype: torch.dtype):
        encoders = ("vae", "text_encoder", *(("tokenizer",) if spec.tokenizer else ()))
        # These are drawn again each time a pair is shown, so the cache does not depend on them.
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
        """Lock the folder, so that one training at a time fills it, and delete what killed trainings left.

        Raises:
            UsageError: another training is filling it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        busy = f"another training is filling the cache {self.path}; wait until it ends, or use another --cache-dir"
        with locked(self.path / ".lock", busy):
            for part in self.path.glob("*.part*"):
                remove(part)
            yield

    def discard(self) -> None:
        """Delete the cache, and the folder of caches if this was the only one."""
        with suppress(OSError):
            remove(self.path)
            self.path.parent.rmdir()

    def prepare(self, observer: Observer | None = None) -> None:
        """Check the datasets unless that was done before, and index the pairs. One process does this.

        Raises:
            InputError: a dataset is not sound.
        """
        observer = observer or Observer()
        self.path.mkdir(parents=True, exist_ok=True)
        seen, now = self.path / _SOUND, "\n".join(fingerprint(dataset) for dataset in self._datasets)
        unchanged = seen.exists() and seen.read_text() == now
        if self._config.check and not unchanged:
            for dataset in self._datasets:
                observer.phase(f"checking {dataset.root.name}", None, "pairs")
                require_sound(dataset)
            write_text(seen, now, durable=True)
        if not PairIndex.exists(self.path):
            write_text(self.path / _ABOUT, dump_json(self._document), durable=True)
            write_index(self.path, self._datasets)

    def open(self) -> LatentCache:
        """Open the prepared cache, which may lack entries."""
        from toolkit.backbones.locations import read_config

        vae = read_config(self._spec, "vae")
        cells = self._document["resolution"] // cell_size(vae)
        shape = vae.get("latent_channels", 4), cells, cells
        index = PairIndex(self.path, self._datasets)
        variants, kept = self._config.augmentation.variants, self._config.cache
        return LatentCache(self.path, index, variants, shape, self._dtype, kept)

    def missing(self, cache: LatentCache) -> list[int]:
        """The numbers of the files that do not exist yet."""
        return [chunk for chunk in cache.chunks if not cache.is_complete(chunk)] if cache.kept else []

    def fill(
        self,
        cache: LatentCache,
        backbone: Backbone,
        chunks: Sequence[int],
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Encode the entries of some files.

        Args:
            advance: receives the number of entries after each batch.

        Raises:
            InputError: a picture is damaged; the message names it.
        """
        for chunk in chunks:
            cache.write(chunk, self._encoded(cache, backbone, cache.entries(chunk), advance))

    def _encoded(
        self, cache: LatentCache, backbone: Backbone, entries: range, advance: Callable[[int], None]
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
            advance(len(images))

    def prompts(self, cache: LatentCache, backbone: Backbone, others: Collection[str] = ()) -> dict[str, torch.Tensor]:
        """The encoded prompts by their texts, each ``[N, D]``: those of the pairs and `others`, and the empty prompt if
        training uses it."""
        path = self.path / _PROMPTS
        known = load_file(path) if path.exists() else {}
        texts = set(others) | ({""} if self._config.loss.proportion_empty_prompts else set())
        if not known:
            texts |= {cache.index[number].text for number in range(len(cache.index))}
        absent = sorted(text for text in texts if _key(text) not in known)
        if absent:
            known |= {_key(text): states for text, states in encode_prompts(backbone, absent).items()}
            write_bytes(path, save(known), shared=True, durable=True)
        return {key.removeprefix(_key("")): states for key, states in known.items()}


def _key(text: str) -> str:
    return f"prompt: {text}"
