"""Fixtures for every test. Real clips lie beside the checkout and are never part of it."""

import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

# Tests run in a process per core: threads of their own would only wait for each other. Before any library is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(os.environ.get("TOOLKIT_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared():
    """Path of a file or folder of real material, e.g. ``shared("media/faces/x.mp4")``; skips where it is absent."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"real material is not here: {path}")
        return path

    return find


@pytest.fixture(scope="module", autouse=True)
def returned_memory():
    """Return memory after each file: models in reference cycles would pile up, and glibc keeps the rest.

    What is there before a file's tests, such as imported libraries and the tests themselves, stays. Collections need
    not look at these half a million objects each time, which took a sixth of all CPU time.
    """
    gc.freeze()
    yield
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def pytest_unconfigure():
    """Let the end of the process delete all, or libraries report their own objects as leaked."""
    gc.unfreeze()
