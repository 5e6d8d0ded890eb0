"""Locate and identify the files of a backbone, without loading them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolkit.backbones.content import weights_digest
from toolkit.backbones.spec import BackboneSpec, Lora, Part
from toolkit.errors import InputError, MissingExtra, UsageError
from toolkit.files import is_litter, read_json, sha256_of

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")


def part_folder(spec: BackboneSpec, name: str) -> Path:
    """Return the folder with the files of one part: a local folder, or a snapshot in the Hugging Face cache.

    Raises:
        UsageError: the backbone does not have this part.
        MissingExtra: files of a repository are not in the cache.
        InputError: the folder or a file in it is missing, or the weights are a pickle.
    """
    part = spec.parts.get(name)
    if part is None:
        raise UsageError(f"the backbone {spec.name} has no {name}; it has {', '.join(spec.parts)}")
    if part.folder is None:
        return _cached(spec, name, part)
    _check_folder(spec, name, part)
    return part.local


def in_cache(spec: BackboneSpec) -> dict[str, bool]:
    """For each part, whether its files exist on this machine. Their content is not checked."""
    return {name: _exists(spec, name) for name in spec.parts}


def read_config(spec: BackboneSpec, name: str) -> dict[str, Any]:
    """Read the configuration of a part.

    Raises:
        InputError: it is not a JSON object.
        UsageError, MissingExtra: as for `part_folder`.
    """
    path = part_folder(spec, name) / spec.parts[name].files[0]
    return read_json_object(path, f"the configuration of the {name} of the backbone {spec.name}")


def read_json_object(path: Path, subject: str) -> dict[str, Any]:
    """Read a JSON object from a file. Error messages start with `subject`.

    Raises:
        InputError: the file is missing or unreadable, or not a JSON object.
    """
    try:
        value = read_json(path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{subject} must be JSON, but {path} is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"{subject} must be at {path}, but it cannot be read: {error.strerror}") from error
    if not isinstance(value, dict):
        raise InputError(f"{subject} must be a JSON object, but {path} holds a {type(value).__name__}")
    return value


def identity(spec: BackboneSpec, parts: Iterable[str] | None = None) -> dict[str, Any]:
    """Identify the exact parts of a backbone by their content, independent of where the files are.

    Args:
        parts: names of the parts, or None for all.

    Returns:
        ``{"name": ..., "parts": {part: {...}}}``. A part with weights has `weights`, a digest of them and of the
        settings that change what the model computes (`weights_digest`); other parts have `sha256`, over their files.
        A part with LoRAs has `loras`, the digest and the weight of each.

    Raises:
        UsageError, MissingExtra, InputError: as for `part_folder`.
    """
    wanted = spec.parts if parts is None else parts
    return {"name": spec.name, "parts": {name: _content(spec, name) for name in wanted}}


def provenance(spec: BackboneSpec, parts: Iterable[str] | None = None) -> dict[str, Any]:
    """`identity`, and for parts in repositories also `repository`, `subfolder`, `revision` and `variant`."""
    found = identity(spec, parts)
    for name, content in found["parts"].items():
        part = spec.parts[name]
        if part.repository is not None:
            content |= _address(spec, name)
    return found


def is_same_part(spec: BackboneSpec, name: str, recorded: Mapping[str, Any]) -> bool:
    """Whether a part is the one that a record describes, in today's form or in that of earlier releases.

    LoRAs do not count: they stand beside the weights of the part and leave the part what it is.

    Raises:
        UsageError, MissingExtra, InputError: as for `part_folder`.
    """
    content = _content(spec, name)
    if content["class_name"] != recorded.get("class_name"):
        return False
    if "weights" in recorded and "weights" in content:
        return bool(content["weights"] == recorded["weights"])
    if "sha256" in recorded:  # until 0.1, the files of parts in folders
        return digest(part_folder(spec, name), spec.parts[name]) == recorded["sha256"]
    if spec.parts[name].repository is None:
        return False
    return all(recorded.get(key) == value for key, value in _address(spec, name).items())


def _content(spec: BackboneSpec, name: str) -> dict[str, Any]:
    folder, part = part_folder(spec, name), spec.parts[name]
    found: dict[str, Any] = {"class_name": part.class_name}
    if part.weights is None:
        found["sha256"] = digest(folder, part)
    else:
        found["weights"] = weights_digest(part.class_name, read_config(spec, name), _weight_files(folder, part.weights))
    if part.loras:
        found["loras"] = [
            {"weights": weights_digest("LoRA", {}, [lora_file(spec, name, lora)]), "weight": lora.weight}
            for lora in part.loras
        ]
    return found


def _address(spec: BackboneSpec, name: str) -> dict[str, str | None]:
    folder, part = part_folder(spec, name), spec.parts[name]
    commit = folder.parent.name if part.subfolder else folder.name
    return {
        "repository": part.repository,
        "subfolder": part.subfolder,
        "revision": commit,
        "variant": part.variant,
    }


def lora_file(spec: BackboneSpec, name: str, lora: Lora) -> Path:
    """Path of a LoRA of the named part.

    Raises:
        MissingExtra: it is not in the cache.
        InputError: it is not in its folder.
    """
    if lora.folder is not None:
        path = lora.folder / lora.file
        if not path.is_file():
            raise InputError(f"expected a LoRA of the {name} of the backbone {spec.name} at {path}, found none")
        return path
    return _in_hub_cache(spec, f"LoRA of the {name}", str(lora.repository), lora.inside, lora.revision)


def _exists(spec: BackboneSpec, name: str) -> bool:
    try:
        part_folder(spec, name)
        for lora in spec.parts[name].loras:
            lora_file(spec, name, lora)
    except (InputError, MissingExtra):
        return False
    return True


def _cached(spec: BackboneSpec, name: str, part: Part) -> Path:
    paths = []
    for file in part.files:
        inside = f"{part.subfolder}/{file}" if part.subfolder else file
        paths.append(_in_hub_cache(spec, name, str(part.repository), inside, part.revision))
    return paths[0].parent


def _in_hub_cache(spec: BackboneSpec, name: str, repository: str, inside: str, revision: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, inside, revision=revision)
    if not isinstance(found, str) or not Path(found).is_file():
        raise MissingExtra(
            f"the {name} of `{spec.name}` is not in the cache ({repository} lacks {inside}); run "
            f"`toolkit fetch {spec.name}` with network access, or pass a folder with --backbone"
        )
    return Path(found)


def _check_folder(spec: BackboneSpec, name: str, part: Part) -> None:
    folder, config = part.local, part.files[0]
    wanted = f"expected the {name} of the backbone {spec.name} ({part.class_name}) in {folder}"
    if not folder.is_dir():
        raise InputError(f"{wanted}, but the folder does not exist")
    if not (folder / config).is_file():
        raise InputError(f"{wanted}, but there is no {config}")
    if part.class_name == "CLIPTokenizer":
        if not any((folder / file).is_file() for file in TOKENIZER_FILES[:2]):
            raise InputError(f"{wanted}, but there is neither tokenizer.json nor vocab.json with merges.txt")
    elif part.weights and not _weight_files(folder, part.weights):
        pickles = sorted(path.name for path in folder.glob("*.bin") if not is_litter(path.name))
        if pickles:
            raise InputError(
                f"{wanted}, but the weights are the pickle {pickles[0]}, which could run code: save the part with "
                f"save_pretrained of diffusers or transformers, which writes {part.weights}"
            )
        raise InputError(f"{wanted}, but there is no {part.weights}")


def _weight_files(folder: Path, weights: str) -> list[Path]:
    """List the weights file or its shards; empty if neither exists."""
    whole = folder / weights
    if whole.is_file():
        return [whole]
    index = folder / f"{weights}.index.json"
    if not index.is_file():
        return []
    shards = read_json_object(index, "the index of sharded weights").get("weight_map")
    if not isinstance(shards, dict):
        raise InputError(f"the index of sharded weights {index} has no weight_map; save the part again")
    files = [folder / shard for shard in sorted({str(shard) for shard in shards.values()})]
    absent = [file.name for file in files if file.parent != folder or not file.is_file()]
    if absent:
        raise InputError(f"the index {index} names the weights file {absent[0]}, which is not in the same folder")
    return files


def digest(folder: Path, part: Part) -> str:
    """SHA-256 over the configuration and weights of a part in a folder."""
    if part.class_name == "CLIPTokenizer":
        files = [folder / file for file in (part.files[0], *TOKENIZER_FILES) if (folder / file).is_file()]
    else:
        files = [folder / part.files[0], *(_weight_files(folder, part.weights) if part.weights else [])]
    total = hashlib.sha256()
    for path in files:
        total.update(bytes.fromhex(sha256_of(path)))
    return total.hexdigest()
