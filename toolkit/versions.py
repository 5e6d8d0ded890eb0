"""Versions of installed libraries, saved with every output."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of the given distributions, leaving out those that are not installed."""
    found = {}
    for library in libraries:
        with suppress(PackageNotFoundError):  # OpenCV and mediapipe have several distribution names
            found[library] = version(library)
    return found
