"""Identify the weights of a model by their content, whatever files hold them.

The same weights may be one file or shards, lie in the Hub's cache or in a folder, and come from an older or newer
release of diffusers or transformers, which write other metadata and a few other names. None of this counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from toolkit.errors import InputError, UsageError
from toolkit.files import cache_folder, check_plain, read_json, write_text

_UNET = {
    "act_fn": "silu",
    "attention_head_dim": 8,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "num_attention_heads": None,
    "resnet_time_scale_shift": "default",
}
_COMPUTING: dict[str, Mapping[str, Any]] = {
    "UNet2DConditionModel": _UNET,
    "ControlNetModel": {name: _UNET[name] for name in _UNET if name not in ("center_input_sample",)}
    | {"controlnet_conditioning_channel_order": "rgb"},
    "AutoencoderKL": {"act_fn": "silu", "norm_num_groups": 32, "scaling_factor": 0.18215, "shift_factor": None},
    "AutoencoderTiny": {"act_fn": "relu", "scaling_factor": 1.0, "upsampling_scaling_factor": 2},
    "PixelUnshuffleCoder": {"block_out_channels": [3, 12, 48], "scaling_factor": 2.0},
    "CLIPTextModel": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_attention_heads": 8},
    "MotionAdapter": {"motion_norm_num_groups": 32, "motion_num_attention_heads": 8},
}
"""Settings that change what a model computes but not the shapes of its weights, with the defaults of their classes.

Fixed here, because the defaults that a release writes into a configuration must not make another model of it."""

_OLD_NAMES = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))
"""Names of a VAE's attention layers in files from before diffusers 0.12, and those of today."""

_LARGE = 32 << 20
"""Bytes from which a file's digest is kept on disk: reading it again would take longer than looking it up."""

_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32"}
"""safetensors' names of torch's number formats."""


def weights_digest(class_name: str, config: Mapping[str, Any], files: Sequence[Path]) -> str:
    """SHA-256 over the weights of a model and the settings that change what it computes.

    Args:
        class_name: class of the model, which tells the settings that count.
        config: the model's configuration.
        files: its safetensors, or the `.bin` of a built-in backbone, read as tensors only.

    Raises:
        InputError: a file is damaged.
    """
    settings = {name: config.get(name, default) for name, default in _COMPUTING.get(class_name, {}).items()}
    total = hashlib.sha256(json.dumps([class_name, settings], sort_keys=True).encode())
    tensors: dict[str, str] = {}
    for path in files:
        tensors |= _tensors(path)
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name]}\n".encode())
    return total.hexdigest()


def _tensors(path: Path) -> dict[str, str]:
    """Number format, shape and SHA-256 of each tensor in a file, by its name of today."""
    status = os.stat(path)
    return _known(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _known(path: str, size: int, modified: int) -> dict[str, str]:
    """What a file with that size and time of change holds: from an earlier look at it, or read now."""
    if size < _LARGE:
        return dict(_read(Path(path)))
    key = hashlib.sha256(f"1 {path} {size} {modified}".encode()).hexdigest()
    try:
        kept = cache_folder() / "digests" / f"{key}.json"
    except UsageError:  # there is no home
        return dict(_read(Path(path)))
    with suppress(OSError, ValueError):
        found = read_json(kept)
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return found
    found = dict(_read(Path(path)))
    with suppress(OSError):  # without the note, the next command reads the file again
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, json.dumps(found), shared=True)
    return found


def _read(path: Path) -> Iterator[tuple[str, str]]:
    for name, dtype, shape, digest in _of_pickle(path) if path.suffix == ".bin" else _of_safetensors(path):
        if name.endswith("position_ids"):
            continue  # a constant that only some releases save
        words = name.removeprefix("text_model.").split(".")
        if "attentions" in words:
            words = [dict(_OLD_NAMES).get(word, word) for word in words]
        yield ".".join(words), f"{dtype} {'x'.join(map(str, shape))} {digest}"


def _of_safetensors(path: Path) -> Iterator[tuple[str, str, list[int], str]]:
    try:
        check_plain(path)
        with path.open("rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if 8 + length > size:
                raise ValueError("the header is longer than the file")
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"][0]):
                start, end = about["data_offsets"]
                if not 0 <= start <= end <= size - 8 - length:
                    raise ValueError(f"{name} lies outside the file")
                file.seek(8 + length + start)
                yield name, str(about["dtype"]), [int(side) for side in about["shape"]], _sum(file, end - start)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"expected weights in safetensors' format in {path}, but the file is damaged") from error


def _sum(file: IO[bytes], count: int) -> str:
    total = hashlib.sha256()
    while count > 0:
        data = file.read(min(count, 1 << 22))
        if not data:
            raise ValueError("the file ends early")
        total.update(data)
        count -= len(data)
    return total.hexdigest()


def _of_pickle(path: Path) -> Iterator[tuple[str, str, list[int], str]]:
    import pickle

    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        for name, tensor in loaded.items():
            data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
            dtype = _DTYPES[str(tensor.dtype).removeprefix("torch.")]
            yield name, dtype, list(tensor.shape), hashlib.sha256(data).hexdigest()
    except (RuntimeError, pickle.UnpicklingError, LookupError, AttributeError, EOFError) as error:
        raise InputError(f"expected weights as tensors only in {path}, but the file is damaged") from error
