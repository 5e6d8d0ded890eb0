"""Lists the portraits in a folder."""

from __future__ import annotations

import csv
from pathlib import Path

from toolkit.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")


def list_portraits(folder: Path, manifest: Path | None = None, only: str | None = None) -> list[Path]:
    """List the portraits in a folder and its sub-folders, sorted by path.

    Args:
        folder: the folder to search.
        manifest: CSV with the columns ``file``, a path relative to the CSV, and ``use``. Only files in it are listed.
        only: text that the column ``use`` must hold.

    Raises:
        InputError: the folder or the manifest is missing, or no portrait is left.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of portraits, but {folder} is not a folder; check the path")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if manifest is not None:
        try:
            rows = list(csv.DictReader(manifest.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the manifest {manifest} cannot be read: {error}") from error
        if not rows or not {"file", "use"} <= set(rows[0]):
            raise InputError(f"expected the columns 'file' and 'use' in the manifest {manifest}")
        listed = {(manifest.parent / row["file"]).resolve() for row in rows if (only or "") in (row["use"] or "")}
        files = [path for path in files if path.resolve() in listed]
    if not files:
        raise InputError(
            f"expected portraits ({', '.join(SUFFIXES)}) in {folder}, found none; check --manifest and --only"
        )
    return files
