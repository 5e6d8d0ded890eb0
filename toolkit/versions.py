"""Versions of what made a file, to be saved beside it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for library in libraries:
        with suppress(PackageNotFoundError):  # OpenCV and mediapipe come under several names
            found[library] = version(library)
    return found
