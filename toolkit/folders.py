"""Folders that one run at a time writes into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import UsageError


@contextmanager
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, which vanishes with the process that holds it.

    Raises:
        UsageError: another process holds it; `busy` is the sentence.
        OSError: the file cannot be made.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(busy) from None
        yield
    finally:
        os.close(file)


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:
    """What differs between two JSON values, as ``key was 1, now 2``; keys of nested objects are joined by dots."""
    import json

    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            label = f"{path}.{key}" if path else key
            yield from differences(found.get(key), wanted.get(key), label)
    elif found != wanted:
        yield f"{path} was {json.dumps(found)}, now {json.dumps(wanted)}"
