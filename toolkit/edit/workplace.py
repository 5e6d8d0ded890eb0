"""The folder of an edit while it runs: whose it is, and what is finished in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, UsageError
from toolkit.files import locked

_DOCUMENT, _LOCK = "edit.json", "lock"


class Workplace:
    """One run's hold on the folder of intermediate files; it goes when the edit is done.

    A run that was killed leaves it, and the next one with the same document goes on in it; one with another document
    starts anew.

    Args:
        root: the folder; made where it is missing.
        document: what decides the content: settings, digests, versions.
    """

    def __init__(self, root: Path, document: dict[str, Any]):
        self.root, self._document = root, document
        self.resumed = False
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Workplace:
        """
        Raises:
            UsageError: another process writes the same video, or the folder is somebody else's.
            ToolkitError: it cannot be made.
        """
        text = json.dumps(self._document, sort_keys=True, indent=1)
        try:
            if self.root.is_symlink():
                raise UsageError(f"{self.root} is to hold intermediate files, but is a link; remove it")
            if self.root.is_dir() and not (self.root / _LOCK).exists() and any(self.root.iterdir()):
                raise UsageError(f"{self.root} is to hold intermediate files, but has others; remove or rename it")
            self.root.mkdir(parents=True, exist_ok=True)
            busy = f"another process is editing into the same output, with its files in {self.root}; wait for it"
            self._held.enter_context(locked(self.root / _LOCK, busy))
            found = self.root / _DOCUMENT
            self.resumed = found.is_file() and found.read_text(encoding="utf-8") == text
            if not self.resumed:
                self.clear()
                self.write(_DOCUMENT, text)
        except OSError as error:
            self._held.close()
            raise ToolkitError(
                f"expected to keep intermediate files in {self.root}, but: {error.strerror}; name another place with "
                "--work-dir"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def clear(self) -> None:
        """Remove everything but the lock."""
        for path in self.root.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()

    def done(self) -> None:
        """Remove the folder: the edit is complete."""
        shutil.rmtree(self.root, ignore_errors=True)

    def folder(self, name: str) -> Path:
        """A sub-folder, made where it is missing."""
        path = self.root / name
        path.mkdir(exist_ok=True)
        return path

    def write(self, name: str, text: str) -> None:
        """Write a file whole or not at all."""
        temporary = self.root / f"{name}.part"
        temporary.parent.mkdir(exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.root / name)

    def read(self, name: str) -> str | None:
        """A file's text; None if it is not there."""
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.is_file() else None
