"""Read a remover, and check that its files are the ones training wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from pydantic import ValidationError

from toolkit.backbones.locations import is_same_part, provenance
from toolkit.backbones.spec import BackboneSpec, Lora, Part
from toolkit.errors import InputError
from toolkit.files import is_litter, read_json, sha256_of
from toolkit.remover.layout import (
    CARD,
    COMPARED_PARTS,
    CONTROLNET,
    LORA_WEIGHTS,
    PICKLES,
    RECORD,
    SCHEMA_VERSION,
    WRITTEN,
    RemoverRecord,
    is_remover,
    problem_with_files,
)

_ATTEMPTS, _PAUSE = 10, 0.1


@dataclass(frozen=True)
class Remover:
    """A remover on this machine.

    Attributes:
        folder: path of the remover.
        record: content of `remover.json`.
    """

    folder: Path
    record: RemoverRecord

    @property
    def controlnet(self) -> Path:
        """Folder of the weights: for `ControlNetModel.from_pretrained`, or of low-rank layers if it has a rank."""
        return self.folder / CONTROLNET

    def part(self, spec: BackboneSpec) -> Part:
        """The remover's ControlNet as a part of its backbone: the folder, or the tile ControlNet with the LoRA.

        Raises:
            InputError: the backbone has no tile ControlNet, to which the low-rank layers belong.
        """
        if self.record.lora_rank is None:
            return Part(class_name="ControlNetModel", folder=self.controlnet.resolve())
        if spec.controlnet_tile is None:
            _refuse(self, spec, "it has no tile ControlNet, to which the remover's low-rank layers belong")
        own = Lora(folder=self.controlnet.resolve(), file=LORA_WEIGHTS)
        return spec.controlnet_tile.model_copy(update={"loras": (*spec.controlnet_tile.loras, own)})


def read_remover(folder: str | Path, verify: bool = True) -> Remover:
    """Read the remover in a folder without loading its weights.

    The model card may be edited. All other files must match their checksums.

    Args:
        verify: compare checksums, which reads all files. Paths, links and pickles are always checked.

    Raises:
        InputError: the folder holds no remover, or the remover is incomplete, damaged, changed, unsafe, or from a
            newer version of the toolkit.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"expected the folder of a remover, found {'a file' if folder.exists() else 'nothing'} at {folder}"
        )
    for attempt in range(_ATTEMPTS):
        before = _state(folder)
        try:
            return _read(folder, verify)
        except InputError:
            # A training run may be replacing the remover right now, which takes milliseconds.
            if before == _state(folder) and not (folder / WRITTEN).exists():
                raise
            if attempt == _ATTEMPTS - 1:
                break
        time.sleep(_PAUSE)
    raise InputError(
        f"the training was killed while it replaced the remover in {folder}; run `toolkit finetune` again with "
        "--resume-from-checkpoint latest to finish the replacement"
    )


def check_backbone(remover: Remover, spec: BackboneSpec) -> None:
    """Check that a backbone is the one the remover was trained on.

    Raises:
        InputError: the unet, the vae, the text_encoder or the prediction type differs. The message says how.
        UsageError, MissingExtra: as for `toolkit.backbones.part_folder`.
    """
    record = remover.record
    if spec.prediction_type != record.prediction_type:
        _refuse(remover, spec, f"its prediction_type is {spec.prediction_type}, not {record.prediction_type}")
    compared = COMPARED_PARTS if record.lora_rank is None else (*COMPARED_PARTS, "controlnet_tile")
    for name in compared:
        if name not in spec.parts:
            _refuse(remover, spec, f"it has no {name}")
        expected = record.backbone["parts"][name]
        if not is_same_part(spec, name, expected):
            found = provenance(spec, (name,))["parts"][name]
            _refuse(remover, spec, f"its {name} is {_described(found)}, not {_described(expected)}")


def _refuse(remover: Remover, spec: BackboneSpec, reason: str) -> NoReturn:
    trained = remover.record.backbone.get("name")
    raise InputError(
        f"the remover {remover.folder} was trained on the backbone {trained}, but {spec.name} is different: "
        f"{reason}; select the backbone used for training with --backbone"
    )


def _described(part: Mapping[str, Any]) -> str:
    digest = str(part.get("weights") or part.get("sha256") or "")[:12]
    content = f" with the digest {digest}" if digest else ""
    if part.get("repository"):
        revision = str(part.get("revision"))[:12]
        path = "/".join(str(part[key]) for key in ("repository", "subfolder") if part.get(key))
        variant = f" ({part['variant']})" if part.get("variant") else ""
        return f"{path} at {revision}{variant}{content}"
    return f"the {part.get('class_name')}{content}"


def _state(folder: Path) -> tuple[int, int] | None:
    try:
        status = (folder / RECORD).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read(folder: Path, verify: bool) -> Remover:
    if not is_remover(folder):
        raise InputError(
            f"expected a remover with a {RECORD} in {folder}, found none; either training has not written one yet, "
            "or this is the wrong folder"
        )
    record = _record(folder / RECORD)
    problem = problem_with_files(list(record.files))
    if problem:
        raise InputError(f"{folder / RECORD} {problem}; do not trust this remover")
    _check_files(folder, record)
    for name, sha256 in record.files.items():
        if verify and name != CARD and _sha256(folder / name) != sha256:
            raise InputError(
                f"{folder / name} is damaged or was changed: its sha256 differs from the one in {RECORD}; "
                "copy or train the remover again"
            )
    return Remover(folder, record)


def _record(path: Path) -> RemoverRecord:
    try:
        values = read_json(path)
        json.dumps(values, ensure_ascii=False).encode()  # JSON may hold halves of characters, which no file can
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has version {version} of the format, but this toolkit supports up to {SCHEMA_VERSION}: update it"
        )
    try:
        return RemoverRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path} is damaged: {where}: {first['msg'].removeprefix('Value error, ')}") from None


def _check_files(folder: Path, record: RemoverRecord) -> None:
    """Check that each file exists and is no link, and that `controlnet/` holds no other files."""
    for name in (RECORD, *record.files):
        relative = PurePosixPath(name)
        for part in (*list(relative.parents)[:-1], relative):
            if (folder / part).is_symlink():
                raise InputError(
                    f"{folder / part} is a link, but a remover must consist of plain files; copy it with `cp -rL`, or "
                    "download it with `hf download --local-dir`"
                )
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing, but {RECORD} lists it; copy or train the remover again")
    for path in sorted((folder / CONTROLNET).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(map(is_litter, path.relative_to(folder).parts)):
            continue
        if path.suffix.lower() in PICKLES:
            raise InputError(f"{path} is a pickle, which could run code; delete it, removers use safetensors only")
        if name not in record.files and (path.is_symlink() or not path.is_dir()):
            raise InputError(f"{path} is not part of the remover: {RECORD} does not list it; delete it")


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
