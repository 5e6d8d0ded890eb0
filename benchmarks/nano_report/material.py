"""The portraits and clips that the report is measured on."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

CLIPS = {"bare": ("media/faces", "media/odd"), "worn": ("media/glasses",)}
"""Folders of real clips of people without and with glasses."""


@dataclass(frozen=True)
class Portrait:
    """A portrait of somebody without glasses.

    Attributes:
        path: of the picture.
        test: whether training left it out.
        age: in years; None if it is not known.
    """

    path: Path
    test: bool
    age: int | None

    @property
    def set(self) -> str:
        """Name of the set that it belongs to."""
        return self.path.parent.name


class Material:
    """A folder with ``stills``, listed in its ``MANIFEST.csv`` (columns ``file``, ``shows``, ``use``), and ``media``.

    Args:
        folder: the folder.

    Raises:
        SystemExit: the folder holds no manifest of portraits.
    """

    def __init__(self, folder: Path):
        self.stills, self.manifest = folder / "stills", folder / "stills" / "MANIFEST.csv"
        self._folder = folder
        if not self.manifest.is_file():
            raise SystemExit(f"expected a list of portraits at {self.manifest}; name another folder with --material")
        with self.manifest.open(encoding="utf-8", newline="") as stream:
            self.portraits = bare_portraits(csv.DictReader(stream), self.stills)

    def clips(self, kind: str) -> list[Path]:
        """The real clips of ``bare`` or ``worn`` faces."""
        files = [path for part in CLIPS[kind] for path in (self._folder / part).glob("*")]
        return sorted(path for path in files if not path.name.startswith("."))

    @property
    def arcface(self) -> Path | None:
        """A model that measures identity, if there is one."""
        return next(iter(sorted((self._folder / "weights").glob("*facenet*.onnx"))), None)


def bare_portraits(rows, folder: Path) -> list[Portrait]:
    """The portraits without glasses of a manifest's rows."""
    found = []
    for row in rows:
        kind, _, person = row["shows"].partition(",")
        if kind.strip() == "face":
            age = re.search(r"(\d+)-year-old", person)
            found.append(Portrait(folder / row["file"], row["use"] == "test", int(age[1]) if age else None))
    return found
