"""Load the models of a `BackboneSpec` on a device."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.backbones.compatible import check_compatible
from toolkit.backbones.describing import describe
from toolkit.backbones.locations import digest, lora_file, part_folder
from toolkit.backbones.spec import PART_CLASSES, BackboneSpec, Lora, Part
from toolkit.device import ComputeDevice, choose_device
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.validation import did_you_mean

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel, MotionAdapter, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTokenizer

INPAINTING = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_inpaint")
"""Parts for synthesising pairs by inpainting (step 1)."""


@dataclass(frozen=True)
class Backbone:
    """Loaded parts, in eval mode and without gradients. Parts that were not requested are None.

    Attributes:
        spec: description of the backbone.
        compute: device, dtype and memory format of the models.
        tokenizer: also None if the text encoder is a `ConstantTextEncoder`.
    """

    spec: BackboneSpec
    compute: ComputeDevice
    vae: torch.nn.Module | None = None
    unet: UNet2DConditionModel | None = None
    text_encoder: torch.nn.Module | None = None
    tokenizer: CLIPTokenizer | None = None
    scheduler: SchedulerMixin | None = None
    controlnet_inpaint: ControlNetModel | None = None
    controlnet_tile: ControlNetModel | None = None
    motion_adapter: MotionAdapter | None = None


def load(
    spec: BackboneSpec | str | Path, parts: Collection[str] = INPAINTING, compute: ComputeDevice | None = None
) -> Backbone:
    """Load parts of a backbone. Downloads nothing.

    Args:
        spec: a description, or a name or folder for `describe`.
        parts: names of the parts. The tokenizer is skipped if the text encoder needs none.
        compute: device, dtype and memory format. If None, `choose_device` chooses.

    Raises:
        UsageError: a name is unknown, or the backbone lacks the part.
        MissingExtra: the weights are not in the cache. The message says how to fetch them.
        InputError: a file is missing, damaged or a pickle, or the parts do not fit together.
        ToolkitError: the device is out of memory.
    """
    if not isinstance(spec, BackboneSpec):
        spec = describe(spec)
    for name in parts:
        if name not in PART_CLASSES:
            raise UsageError(f"a backbone has no part {name!r}{did_you_mean(name, PART_CLASSES)}")
    wanted = [name for name in PART_CLASSES if name in parts]
    if spec.text_encoder.class_name == "ConstantTextEncoder" and spec.tokenizer is None:
        wanted = [name for name in wanted if name != "tokenizer"]
    folders = {name: part_folder(spec, name) for name in wanted}
    for name in wanted:
        for lora in spec.parts[name].loras:
            lora_file(spec, name, lora)  # before anything large is read
    check_compatible(spec, wanted)
    compute = compute or choose_device()
    with _without_progress_bars():
        loaded = {name: _load_part(spec, name, folder, compute) for name, folder in folders.items()}
    if loaded.get("tokenizer") is not None and loaded.get("text_encoder") is not None:
        _check_vocabulary(spec, loaded["tokenizer"], loaded["text_encoder"])
    return Backbone(spec, compute, **loaded)


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Turn off the progress bars that transformers prints for each part, even without a terminal."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _load_part(spec: BackboneSpec, name: str, folder: Path, compute: ComputeDevice) -> Any:
    import torch
    from safetensors import SafetensorError

    part = spec.parts[name]
    if part.sha256 is not None and digest(folder, part) != part.sha256:
        raise InputError(
            f"the {name} of the backbone {spec.name} in {folder} is damaged or was changed: its sha256 differs from "
            "the one in the backbone's description; install or train it again"
        )
    try:
        model = _from_pretrained(part, folder, compute)
        if part.weights is None:
            return model
        for lora in part.loras:
            _add(spec, name, lora, model)
        return compute.prepare(model.eval().requires_grad_(False))
    except torch.OutOfMemoryError as error:
        raise ToolkitError(
            f"the {name} of the backbone {spec.name} does not fit into the free memory of {compute.device}: free some, "
            "choose a 16-bit dtype, or use the device cpu"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"expected a {part.class_name} as the {name} of the backbone {spec.name} in {folder}, but its files are "
            f"damaged or do not match its configuration ({lines[0]}); fetch or save it again"
        ) from error


def _add(spec: BackboneSpec, name: str, lora: Lora, model: Any) -> None:
    from toolkit.backbones.lora import add_lora, read_lora

    add_lora(model, read_lora(lora_file(spec, name, lora), model), lora.weight)


def _from_pretrained(part: Part, folder: Path, compute: ComputeDevice) -> Any:
    cls = _class(part)
    if part.weights is None:
        return cls.from_pretrained(folder, local_files_only=True)
    # Both libraries fill missing weights with random numbers and only warn, so check the list of missing keys.
    dtype = {"dtype" if part.class_name == "CLIPTextModel" else "torch_dtype": compute.torch_dtype}
    model, info = cls.from_pretrained(
        folder,
        variant=part.variant,
        use_safetensors=part.weights_format == "safetensors",
        local_files_only=True,
        output_loading_info=True,
        **dtype,
    )
    absent = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
    if absent:
        raise ValueError(f"{len(absent)} weights are missing, the first is {absent[0]}")
    return model


def _class(part: Part) -> Any:
    if part.class_name == "ConstantTextEncoder":
        from toolkit.backbones.constant import ConstantTextEncoder

        return ConstantTextEncoder
    if part.class_name == "PixelUnshuffleCoder":
        from toolkit.backbones.unshuffle import PixelUnshuffleCoder

        return PixelUnshuffleCoder
    if part.class_name.startswith("CLIP"):
        import transformers

        return getattr(transformers, part.class_name)
    import diffusers

    return getattr(diffusers, part.class_name)


def _check_vocabulary(spec: BackboneSpec, tokenizer: Any, text_encoder: Any) -> None:
    size = getattr(text_encoder.config, "vocab_size", None)
    if size is not None and len(tokenizer) > size:
        raise InputError(
            f"the parts of the backbone {spec.name} do not fit together: the tokenizer has {len(tokenizer)} tokens, "
            f"but the text_encoder has embeddings for {size}"
        )
