"""Write a remover, so that its folder always holds the complete old one or the complete new one."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from toolkit.errors import ToolkitError
from toolkit.files import dump_json, is_litter, publish, remove, sha256_of
from toolkit.remover.card import render_card
from toolkit.remover.layout import CARD, CONTROLNET, IMAGES, RECORD, WRITING, WRITTEN, RemoverRecord, problem_with_files


def write_remover(
    folder: Path,
    save_controlnet: Callable[[Path], None],
    record: RemoverRecord,
    pictures: Mapping[str, bytes],
) -> RemoverRecord:
    """Write a remover, and replace an earlier one in the same folder. Other files in the folder stay untouched.

    All files are written and synced in a sub-folder first. Once it is complete, the new remover counts: its files are
    renamed into place, the record last. If the process is killed during the renames, the next call, or
    `finish_writing`, completes them.

    Args:
        folder: created if it does not exist.
        save_controlnet: called with the folder for the ControlNet, such as ``controlnet.save_pretrained``.
        record: of the remover. This function fills in `files`.
        pictures: contents of the files in ``images/``, by name. The card shows `GRID` and `CURVE`.

    Returns:
        The record that was written.

    Raises:
        ToolkitError: the disk is full, or the folder is not writable. The old remover stays unchanged.
        ValueError: `save_controlnet` did not write a ControlNet in safetensors.
    """
    folder = Path(folder)
    with _explained(f"the remover {folder} cannot be written", "the previous files are unchanged"):
        folder.mkdir(parents=True, exist_ok=True)
        finish_writing(folder)
        staging = folder / WRITING
        remove(staging)
        try:
            record = _stage(staging, save_controlnet, record, pictures)
            # Synced before the rename, which must not reach the disk before the content does.
            publish(staging, folder / WRITTEN, durable=True)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        finish_writing(folder)
    return record


def finish_writing(folder: Path) -> None:
    """Finish the renames of a writer that was killed. Does nothing if there are none.

    Raises:
        ToolkitError: a file cannot be moved, or the staged files are not a remover.
    """
    folder = Path(folder)
    written = folder / WRITTEN
    if not written.is_dir():
        return
    with _explained(f"the remover {written} cannot be put in place", "run the training again to finish"):
        if (written / RECORD).is_file():
            files = _files(written / RECORD)
            for name in files:
                _move(written, folder, name)
            for part in (CONTROLNET, IMAGES):
                for path in sorted((folder / part).rglob("*"), reverse=True):
                    if path.is_dir() and not path.is_symlink():
                        if not any(path.iterdir()):
                            path.rmdir()
                    elif path.relative_to(folder).as_posix() not in files:
                        path.unlink()
            _move(written, folder, RECORD)
        shutil.rmtree(written)


def _stage(
    staging: Path, save_controlnet: Callable[[Path], None], record: RemoverRecord, pictures: Mapping[str, bytes]
) -> RemoverRecord:
    (staging / IMAGES).mkdir(parents=True)
    for name, data in pictures.items():
        (staging / IMAGES / name).write_bytes(data)
    (staging / CARD).write_text(render_card(record, list(pictures)), encoding="utf-8")
    save_controlnet(staging / CONTROLNET)
    written = [path for path in sorted(staging.rglob("*")) if path.is_file() and not is_litter(path.name)]
    files = {path.relative_to(staging).as_posix(): path for path in written}
    problem = problem_with_files(list(files))
    if problem:
        raise ValueError(f"the saved remover {problem}")
    record = record.model_copy(update={"files": {name: sha256_of(path) for name, path in files.items()}})
    (staging / RECORD).write_text(dump_json(record.model_dump(mode="json")), encoding="utf-8")
    return record


def _files(record: Path) -> list[str]:
    try:
        files = list(RemoverRecord.model_validate_json(record.read_bytes()).files)
    except ValidationError as error:
        raise ToolkitError(f"{record} is damaged; delete the folder {record.parent}") from error
    problem = problem_with_files(files)
    if problem:
        raise ToolkitError(f"{record} {problem}; delete the folder {record.parent}")
    return sorted(files, key=lambda name: name == CARD)  # last, because readers do not check the card


def _move(written: Path, folder: Path, name: str) -> None:
    source, target = written / name, folder / name
    if not source.exists():
        return  # moved by an earlier call that was killed
    if target.parent != folder and target.parent.is_symlink():  # the folder itself may be a link
        target.parent.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    publish(source, target, durable=True)


@contextmanager
def _explained(problem: str, advice: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise ToolkitError(f"{problem}: {reason}; {advice}") from error
    except SafetensorError as error:
        # The library reports file system errors as text only.
        reason = "the disk is full" if f"os error {errno.ENOSPC}" in str(error) else str(error)
        raise ToolkitError(f"{problem}: {reason}; {advice}") from error
