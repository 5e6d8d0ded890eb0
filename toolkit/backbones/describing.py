"""Find the `BackboneSpec` for a name or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolkit.backbones.locations import read_json_object
from toolkit.backbones.spec import BACKBONES, PART_CLASSES, REQUIRED, BackboneSpec, Part
from toolkit.errors import InputError, UsageError
from toolkit.validation import did_you_mean

EMBEDDED = Path(__file__).parent / "data"
"""Package data: one folder with a `backbone.json` for each embedded backbone."""

SPEC_FILE = "backbone.json"

_FOLDERS = {"controlnet_inpaint": ("controlnet_inpaint", "controlnet"), "controlnet_tile": ("controlnet_tile",)}
"""Folder names of parts whose folder may have another name than the part."""


def backbone_names() -> list[str]:
    """Names that `describe` accepts: downloadable backbones, then embedded ones."""
    return [*BACKBONES, *sorted(path.parent.name for path in EMBEDDED.glob(f"*/{SPEC_FILE}"))]


def describe(name_or_folder: str | Path) -> BackboneSpec:
    """Describe a backbone by name or folder, without reading weights.

    A folder contains a ``backbone.json``, which is a `BackboneSpec` with folders relative to it, or a pipeline in
    diffusers' format: ``vae/``, ``unet/``, ``text_encoder/``, ``tokenizer/``, ``scheduler/``, and optionally
    ``controlnet_inpaint/`` (or ``controlnet/``), ``controlnet_tile/`` and ``motion_adapter/``.

    Raises:
        UsageError: the argument is neither a known name nor a folder.
        InputError: the folder lacks a required part, or a configuration is damaged.
    """
    known = backbone_names()
    if str(name_or_folder) in BACKBONES:
        return BACKBONES[str(name_or_folder)]
    if str(name_or_folder) in known:
        return _from_file(EMBEDDED / str(name_or_folder) / SPEC_FILE)
    folder = Path(name_or_folder).expanduser()
    if not folder.is_dir():
        hint = did_you_mean(str(name_or_folder), known)
        found = "a file, not a folder" if folder.exists() else f"neither a known name nor a folder{hint}"
        raise UsageError(f"the backbone {str(name_or_folder)!r} is {found}; known are {', '.join(known)}")
    folder = folder.resolve()
    if (folder / SPEC_FILE).is_file():
        return _from_file(folder / SPEC_FILE)
    return _from_pipeline(folder)


def _from_file(path: Path) -> BackboneSpec:
    values = read_json_object(path, "the description of a backbone")
    for name in PART_CLASSES:
        part = values.get(name)
        if not isinstance(part, dict):
            continue
        if part.get("weights_format") == "bin":
            raise InputError(f"{path}: the {name} must be safetensors, because a pickle could run code")
        if isinstance(part.get("folder"), str):
            values[name] = part = part | {"folder": _inside(path, name, part["folder"])}
        if isinstance(part.get("loras"), list):
            loras = [lora | _placed(path, name, lora) if isinstance(lora, dict) else lora for lora in part["loras"]]
            values[name] = part | {"loras": loras}
    return _validated(path, values)


def _placed(path: Path, name: str, lora: Mapping[str, Any]) -> dict[str, Path]:
    return {"folder": _inside(path, name, lora["folder"])} if isinstance(lora.get("folder"), str) else {}


def _inside(path: Path, name: str, relative: str) -> Path:
    """Resolve a folder, which must be inside the folder of the description."""
    root = path.parent.resolve()
    try:
        folder = (root / relative).resolve()
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: the folder of the {name} is not a valid path: {error}") from error
    if not folder.is_relative_to(root):
        raise InputError(f"{path}: the folder of the {name} must be inside {root}, found {relative!r}")
    return folder


def _from_pipeline(root: Path) -> BackboneSpec:
    values: dict[str, Any] = {"name": root.name}
    configs = {}
    for name in PART_CLASSES:
        for inside in _FOLDERS.get(name, (name,)):
            if (root / inside).is_dir():
                values[name], configs[name] = _part(root / inside, name)
                break
    absent = [name for name in REQUIRED if name not in values]
    if not absent and values["text_encoder"].class_name == "CLIPTextModel" and "tokenizer" not in values:
        absent = ["tokenizer"]
    if absent:
        found = f"it has {', '.join(configs)}" if configs else "it has none of a backbone's parts"
        raise InputError(f"expected a backbone in {root}, but it has no folder {absent[0]}/; {found}")
    try:
        values["resolution"] = _resolution(configs)
    except (TypeError, ValueError) as error:
        raise InputError(f"a configuration in {root} has a value of the wrong type: {error}") from error
    values["prediction_type"] = configs["scheduler"].get("prediction_type", "epsilon")
    return _validated(root, values)


def _part(folder: Path, name: str) -> tuple[Part, dict[str, Any]]:
    config_name = {"tokenizer": "tokenizer_config.json", "scheduler": "scheduler_config.json"}.get(name, "config.json")
    config = read_json_object(folder / config_name, f"the configuration of the {name}")
    class_name = config.get("_class_name") or config.get("tokenizer_class")
    if class_name is None and isinstance(config.get("architectures"), list):
        class_name = next(iter(config["architectures"]), None)
    # Releases of transformers save different names for this tokenizer.
    if name == "tokenizer" and class_name in ("CLIPTokenizerFast", None):
        class_name = "CLIPTokenizer"
    if class_name not in PART_CLASSES[name]:
        known = " or ".join(PART_CLASSES[name][:3]) + (" or similar" if len(PART_CLASSES[name]) > 3 else "")
        raise InputError(f"expected a {known} as the {name}, but {folder / config_name} says {class_name}")
    part = Part(class_name=class_name, folder=folder)
    if part.weights is not None and not _has_weights(part):
        variants = sorted(folder.glob(part.weights.replace(".", ".*.", 1)))
        if variants:
            part = Part(class_name=class_name, folder=folder, variant=variants[0].name.split(".")[1])
    return part, config


def _has_weights(part: Part) -> bool:
    return any((part.local / f"{part.weights}{suffix}").exists() for suffix in ("", ".index.json"))


def _resolution(configs: Mapping[str, Mapping[str, Any]]) -> int:
    """Resolution in pixels: the UNet's `sample_size` in latent cells, times the size of a cell."""
    from toolkit.backbones.compatible import cell_size

    cells = configs["unet"].get("sample_size") or 64
    return (max(cells) if isinstance(cells, list) else cells) * cell_size(configs["vae"])


def _validated(path: Path, values: Mapping[str, Any]) -> BackboneSpec:
    try:
        return BackboneSpec.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} does not describe a backbone: {field + ': ' if field else ''}{message}") from None
