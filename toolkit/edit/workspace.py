"""The folder of intermediate files of one video."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any, Self

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import locked, remove, write_text

_DESCRIPTION, _LOCK = "edit.json", "lock"


def clear(root: Path) -> None:
    """Remove a folder of intermediate files that nobody needs or uses any more."""
    if (root / _LOCK).is_file():
        with contextlib.suppress(OSError, UsageError), locked(root / _LOCK, "in use"):
            _delete(root)


def _empty(root: Path) -> None:
    for path in root.iterdir():
        if path.name != _LOCK:
            remove(path)


def _delete(root: Path) -> None:
    """Delete the folder; the lock last, because a folder with files and without a lock is not ours."""
    with contextlib.suppress(OSError):
        _empty(root)
    shutil.rmtree(root, ignore_errors=True)


class Workspace:
    """Holds the folder of intermediate files while a video is edited; the folder is removed once the edit is complete.

    Interrupted runs leave the folder, and the next run with the same description resumes in it. A run with another
    description empties it first.

    Args:
        root: the folder; created if it does not exist.
        description: everything that decides its content: settings, digests, versions.
    """

    def __init__(self, root: Path, description: dict[str, Any]):
        self.root, self._description = root, description
        self.resumed = False
        """Whether files of an interrupted run are used."""
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """
        Raises:
            UsageError: another process writes the same video, or the folder holds other files.
            ToolkitError: it cannot be created.
        """
        text = json.dumps(self._description, sort_keys=True, indent=1)
        try:
            if self.root.is_symlink():
                raise UsageError(f"expected a folder for intermediate files at {self.root}, found a link; remove it")
            if self.root.is_dir() and not (self.root / _LOCK).exists() and any(self.root.iterdir()):
                raise UsageError(
                    f"expected an empty folder for intermediate files at {self.root}, found other files; remove or "
                    "rename it"
                )
            self.root.mkdir(parents=True, exist_ok=True)
            busy = f"another process is writing the same output, with its files in {self.root}; wait for it"
            self._held.enter_context(locked(self.root / _LOCK, busy))
            found = self.root / _DESCRIPTION
            self.resumed = found.is_file() and found.read_text(encoding="utf-8") == text
            if not self.resumed:
                _empty(self.root)
                self.write(_DESCRIPTION, text)
        except OSError as error:
            self._held.close()
            raise ToolkitError(
                f"expected to write intermediate files to {self.root}, but: {error.strerror}; name another folder with "
                "--work-dir"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def done(self) -> None:
        """Remove the folder."""
        _delete(self.root)

    def folder(self, name: str) -> Path:
        """A sub-folder, created if it does not exist."""
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def write(self, name: str, text: str) -> None:
        """Write a file in one step, so that it survives a power cut. What it describes must be on disk before."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        write_text(path, text, durable=True)

    def read(self, name: str) -> str | None:
        """Text of a file; None if it does not exist."""
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.is_file() else None
