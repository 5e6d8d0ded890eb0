"""Stages of the report, each of which is skipped if its result exists for the same inputs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.files import read_json, write_json

DECIDING = ("toolkit/backbones", "toolkit/diffusion", "toolkit/edit", "toolkit/faces", "toolkit/video")
DECIDING += ("attributes", "tasks")
"""Folders of a source tree that decide the result of an edit, with the weights."""

SUFFIXES = {".py", ".json", ".safetensors"}


class Stages:
    """Runs stages and keeps their results as JSON in a folder.

    Args:
        folder: of the results.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, name: str, inputs: dict[str, Any], work: Callable[[], Any]) -> Any:
        """The result of a stage: that of an earlier run with equal inputs, or that of `work`.

        Args:
            name: of the stage and of its file; may contain slashes.
            inputs: everything that the result depends on, as JSON values.
            work: returns JSON values.
        """
        path = self.folder / f"{name}.json"
        if path.is_file():
            try:
                kept = read_json(path)
            except ValueError:  # a damaged file
                kept = {}
            if kept.get("inputs") == inputs:
                print(f"{name}: kept", flush=True)
                return kept["result"]
        print(f"{name} ...", flush=True)
        begun, busy = time.monotonic(), _busy()
        result = work()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"inputs": inputs, "result": result})
        print(f"{name}: {time.monotonic() - begun:.0f} s, {_busy() - busy:.0f} s of CPU time", flush=True)
        return result


def _busy() -> float:
    """CPU seconds of this process and of the children that ended."""
    import os

    return sum(os.times()[:4])


def digest(paths: list[Path], root: Path) -> str:
    """SHA-256 over the names, relative to `root`, and the content of files."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(root)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def source_digest(source: Path) -> str:
    """`digest` of everything in a source tree that decides an edit."""
    files = [path for part in DECIDING for path in (source / part).rglob("*") if path.suffix in SUFFIXES]
    return digest(files, source)


def digest_of_code(folder: Path) -> str:
    """`digest` of the code and weights in a folder."""
    return digest([path for path in folder.rglob("*") if path.suffix in SUFFIXES], folder)


def folder_digest(folder: Path) -> str:
    """`digest` of the videos in a folder."""
    return digest([path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"], folder)
