"""Writes a remover so that a folder has the whole new one or the whole old one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from toolkit.dataset.layout import dump_json
from toolkit.errors import ToolkitError
from toolkit.files import sha256_of
from toolkit.remover.card import render_card
from toolkit.remover.layout import CARD, CONTROLNET, IMAGES, RECORD, WRITING, WRITTEN, RemoverRecord, problem_with_files


def write_remover(
    folder: Path,
    save_controlnet: Callable[[Path], None],
    record: RemoverRecord,
    pictures: Mapping[str, bytes],
) -> RemoverRecord:
    """Write a remover, replacing the one that is there; other files of the folder are not touched.

    Everything is written and checked off in a sub-folder first. From the moment that it is complete the new remover
    stands: its files are renamed into their places, the record last, and a call that was killed meanwhile is finished
    by the next one or by `finish_writing`.

    Args:
        folder: created where it is missing.
        save_controlnet: called with the folder to write the ControlNet to, such as ``controlnet.save_pretrained``.
        record: its `files` are filled in here.
        pictures: names in ``images/`` and the files' bytes; `GRID` and `CURVE` are shown on the card.

    Returns:
        The record as it was written.

    Raises:
        ToolkitError: no room, or no right to write; the old remover is as it was.
        ValueError: `save_controlnet` wrote something else than a ControlNet in safetensors.
    """
    folder = Path(folder)
    with _explained(f"the remover {folder} cannot be written", "what was there before is kept"):
        folder.mkdir(parents=True, exist_ok=True)
        finish_writing(folder)
        staging = folder / WRITING
        if staging.exists():
            shutil.rmtree(staging)
        try:
            record = _stage(staging, save_controlnet, record, pictures)
            os.rename(staging, folder / WRITTEN)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        finish_writing(folder)
    return record


def finish_writing(folder: Path) -> None:
    """Put a remover in place that was whole when its writer was killed; without one nothing happens.

    Raises:
        ToolkitError: a file cannot be moved, or what lies there is no remover.
    """
    folder = Path(folder)
    written = folder / WRITTEN
    if not written.is_dir():
        return
    with _explained(f"the remover {written} cannot be put in place", "run the training again, which finishes that"):
        if (written / RECORD).is_file():
            files = _files(written / RECORD)
            for name in files:
                _move(written / name, folder / name)
            for place in (CONTROLNET, IMAGES):
                for path in sorted((folder / place).rglob("*"), reverse=True):
                    if path.is_dir() and not path.is_symlink():
                        if not any(path.iterdir()):
                            path.rmdir()
                    elif path.relative_to(folder).as_posix() not in files:
                        path.unlink()
            _move(written / RECORD, folder / RECORD)
        shutil.rmtree(written)


def _stage(
    staging: Path, save_controlnet: Callable[[Path], None], record: RemoverRecord, pictures: Mapping[str, bytes]
) -> RemoverRecord:
    (staging / IMAGES).mkdir(parents=True)
    for name, data in pictures.items():
        (staging / IMAGES / name).write_bytes(data)
    (staging / CARD).write_text(render_card(record, list(pictures)), encoding="utf-8")
    save_controlnet(staging / CONTROLNET)
    files = {path.relative_to(staging).as_posix(): path for path in sorted(staging.rglob("*")) if path.is_file()}
    problem = problem_with_files(list(files))
    if problem:
        raise ValueError(f"what was saved {problem}")
    record = record.model_copy(update={"files": {name: _settled(path) for name, path in files.items()}})
    (staging / RECORD).write_text(dump_json(record.model_dump(mode="json")), encoding="utf-8")
    _settled(staging / RECORD)
    return record


def _settled(path: Path) -> str:
    """The file's sha256, after its bytes have gone to the disk: a rename must not overtake them."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    return sha256_of(path)


def _files(record: Path) -> list[str]:
    try:
        files = list(RemoverRecord.model_validate_json(record.read_bytes()).files)
    except ValidationError as error:
        raise ToolkitError(f"{record} is damaged; remove the folder {record.parent}") from error
    problem = problem_with_files(files)
    if problem:
        raise ToolkitError(f"{record} {problem}; remove the folder {record.parent}")
    return sorted(files, key=lambda name: name == CARD)  # last, because readers do not compare its checksum


def _move(source: Path, target: Path) -> None:
    if not source.exists():
        return  # an earlier call, which was killed, has moved it
    if target.parent.is_symlink():
        target.parent.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)


@contextmanager
def _explained(what: str, then: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ToolkitError(f"{what}: {why}; {then}") from error
    except SafetensorError as error:
        # The library gives errors of the file system as text only.
        why = "the disk is full" if f"os error {errno.ENOSPC}" in str(error) else str(error)
        raise ToolkitError(f"{what}: {why}; {then}") from error
