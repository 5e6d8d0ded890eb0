"""Where the parts of a backbone lie on this machine, and what exactly lies there. Looks at files, loads nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.backbones.spec import BackboneSpec, Part
from toolkit.errors import InputError, MissingExtra, UsageError

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt")


def part_folder(spec: BackboneSpec, name: str) -> Path:
    """The folder with the files of one part: its own folder, or a snapshot in the Hugging Face cache.

    Raises:
        UsageError: the backbone has no such part.
        MissingExtra: a repository's files are not in the cache.
        InputError: a folder lacks the part or one of its files, or has its weights as a pickle only.
    """
    part = spec.parts.get(name)
    if part is None:
        raise UsageError(f"the backbone {spec.name} has no {name}; it has {', '.join(spec.parts)}")
    if part.folder is None:
        return _cached(spec, name, part)
    _check_folder(spec, name, part)
    return part.folder


def in_cache(spec: BackboneSpec) -> dict[str, bool]:
    """For each part whether its files are on this machine; sound or damaged is not looked at."""
    return {name: _is_there(spec, name) for name in spec.parts}


def read_config(spec: BackboneSpec, name: str) -> dict[str, Any]:
    """A part's configuration as it lies on disk.

    Raises:
        InputError: it is no JSON object.
        UsageError, MissingExtra: as for `part_folder`.
    """
    path = part_folder(spec, name) / spec.parts[name].files[0]
    return read_json_object(path, f"the configuration of the {name} of the backbone {spec.name}")


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file; `what` begins the sentence of the error.

    Raises:
        InputError: it is missing, unreadable, or something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} must be JSON, but {path} is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"{what} must be at {path}, but it cannot be read: {error.strerror}") from error
    if not isinstance(value, dict):
        raise InputError(f"{what} must be a JSON object, but {path} holds a {type(value).__name__}")
    return value


def identity(spec: BackboneSpec, parts: Iterable[str] | None = None) -> dict[str, Any]:
    """What exactly the parts are, for a dataset's config: the same files give the same answer wherever they lie.

    Args:
        parts: names of the parts; all that the backbone has if None.

    Returns:
        ``{"name": ..., "parts": {part: {...}}}``. A repository's part has `repository`, `subfolder`, `revision` (the
        commit that is in the cache) and `variant`; a folder's part has `sha256`, over its configuration and weights.

    Raises:
        UsageError, MissingExtra, InputError: as for `part_folder`.
    """
    described = {}
    for name in spec.parts if parts is None else parts:
        folder = part_folder(spec, name)
        part = spec.parts[name]
        if part.folder is not None:
            described[name] = {"class_name": part.class_name, "sha256": digest(folder, part)}
            continue
        commit = folder.parent.name if part.subfolder else folder.name
        described[name] = {
            "class_name": part.class_name,
            "repository": part.repository,
            "subfolder": part.subfolder,
            "revision": commit,
            "variant": part.variant,
        }
    return {"name": spec.name, "parts": described}


def _is_there(spec: BackboneSpec, name: str) -> bool:
    try:
        part_folder(spec, name)
    except (InputError, MissingExtra):
        return False
    return True


def _cached(spec: BackboneSpec, name: str, part: Part) -> Path:
    from huggingface_hub import try_to_load_from_cache

    paths = []
    for file in part.files:
        inside = f"{part.subfolder}/{file}" if part.subfolder else file
        found = try_to_load_from_cache(part.repository, inside, revision=part.revision)
        if not isinstance(found, str) or not Path(found).is_file():
            raise MissingExtra(
                f"the {name} of `{spec.name}` is not in the cache ({part.repository} lacks {inside}); run "
                f"`toolkit fetch {spec.name}` where there is a network, or name a folder with --backbone"
            )
        paths.append(Path(found))
    return paths[0].parent


def _check_folder(spec: BackboneSpec, name: str, part: Part) -> None:
    wanted = f"expected the {name} of the backbone {spec.name} ({part.class_name}) in {part.folder}"
    if not part.folder.is_dir():
        raise InputError(f"{wanted}, but there is no such folder")
    config = part.files[0]
    if not (part.folder / config).is_file():
        raise InputError(f"{wanted}, but there is no {config}")
    if part.class_name == "CLIPTokenizer":
        if not any((part.folder / file).is_file() for file in TOKENIZER_FILES[:2]):
            raise InputError(f"{wanted}, but there is neither tokenizer.json nor vocab.json with merges.txt")
    elif part.weights and not _weight_files(part):
        pickles = sorted(path.name for path in part.folder.glob("*.bin"))
        if pickles:
            raise InputError(
                f"{wanted}, but the weights are the pickle {pickles[0]}, which could run code: save the part with "
                f"save_pretrained of diffusers or transformers, which writes {part.weights}"
            )
        raise InputError(f"{wanted}, but there is no {part.weights}")


def _weight_files(part: Part) -> list[Path]:
    """The file with the weights, or the parts that a sharded one was cut into; empty where there is none."""
    whole = part.folder / part.weights
    if whole.is_file():
        return [whole]
    index = part.folder / f"{part.weights}.index.json"
    if not index.is_file():
        return []
    shards = read_json_object(index, "the index of sharded weights").get("weight_map")
    if not isinstance(shards, dict):
        raise InputError(f"the index of sharded weights {index} has no weight_map; save the part again")
    files = [part.folder / shard for shard in sorted({str(shard) for shard in shards.values()})]
    absent = [file.name for file in files if file.parent != part.folder or not file.is_file()]
    if absent:
        raise InputError(f"the index {index} names the weights file {absent[0]}, which is not beside it")
    return files


def digest(folder: Path, part: Part) -> str:
    """sha256 over the configuration and the weights of a part that lies in a folder."""
    if part.class_name == "CLIPTokenizer":
        files = [folder / file for file in (part.files[0], *TOKENIZER_FILES) if (folder / file).is_file()]
    else:
        files = [folder / part.files[0], *(_weight_files(part) if part.weights else [])]
    total = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
