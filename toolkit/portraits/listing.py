"""Which files of a folder are portraits to be used."""

from __future__ import annotations

import csv
from pathlib import Path

from toolkit.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png")


def list_portraits(folder: Path, manifest: Path | None = None, only: str | None = None) -> list[Path]:
    """Portraits in a folder and below, sorted.

    Args:
        manifest: CSV with the columns ``file``, a path from its own folder, and ``use``; others are left out.
        only: take only rows with this text in ``use``.

    Raises:
        InputError: the folder or the manifest is missing, or nothing is left.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of portraits, but there is none at {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if manifest is not None:
        try:
            rows = list(csv.DictReader(manifest.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the manifest {manifest} cannot be read: {error}") from error
        if not rows or not {"file", "use"} <= set(rows[0]):
            raise InputError(f"expected columns 'file' and 'use' in {manifest}")
        listed = {(manifest.parent / row["file"]).resolve() for row in rows if (only or "") in (row["use"] or "")}
        files = [path for path in files if path.resolve() in listed]
    if not files:
        raise InputError(f"expected portraits ({', '.join(SUFFIXES)}) to use in {folder}, found none")
    return files
