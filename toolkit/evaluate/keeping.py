"""Keeps the results of measured videos beside the report, so that an interrupted evaluation can go on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.results import SCHEMA_VERSION, VideoResult
from toolkit.files import dump_json, remove, sha256_of, write_bytes
from toolkit.task import AttributeTask
from toolkit.versions import installed

FOLDER = ".measured"
"""Sub-folder of the report's folder; removed when the report is written."""

_LIBRARIES = (
    *("vlasik-toolkit", "av", "mediapipe", "numpy", "onnxruntime", "opencv-contrib-python", "pyfacer"),
    *("scipy", "lpips", "torch", "torchvision"),
)
_RESULTS = TypeAdapter(dict[str, VideoResult])


class Kept:
    """Results of measured originals, in a folder of the report. What cannot be written or read is measured again.

    A result counts only for the same content of the same videos, settings and versions.

    Args:
        config: the resolved settings.
        task: the task and its options.
    """

    def __init__(self, config: EvaluateConfig, task: AttributeTask):
        self._folder = config.output / FOLDER
        left_out = {"original", "edited", "target", "output", "clips", "workers", "allow_failures", "arcface"}
        left_out |= {"flow_weights", "options"}
        self._settings: dict[str, Any] = config.model_dump(mode="json", exclude=left_out) | {
            "schema": SCHEMA_VERSION,
            "task": f"{type(task).__module__}.{type(task).__qualname__}",
            "options": task.options.model_dump(mode="json"),
            "models": [_digest(path) for path in (config.arcface, config.flow_weights, *dict(config.faces).values())],
            "versions": _versions(config.task),
        }
        self._names: dict[str, str] = {}

    def results(self, videos: VideoSet) -> dict[str, VideoResult] | None:
        """The results of an earlier run, or None if the original must be measured."""
        try:
            return _RESULTS.validate_json((self._folder / self._name(videos)).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, videos: VideoSet, results: Mapping[str, VideoResult]) -> None:
        """Keep results until the report is written; not those of videos that could not be measured."""
        if any(results[method].failed for method, path in videos.edited.items() if isinstance(path, Path)):
            return
        with suppress(OSError):  # only the next run would notice
            self._folder.mkdir(exist_ok=True)
            write_bytes(self._folder / self._name(videos), _RESULTS.dump_json(dict(results)))

    def discard(self) -> None:
        """Remove what was kept."""
        with suppress(OSError):
            remove(self._folder)

    def _name(self, videos: VideoSet) -> str:
        if videos.name not in self._names:
            files: dict[str, Path | str | None] = {"original": videos.original, "target": videos.target}
            files |= {f"={method}": path for method, path in videos.edited.items()}
            content = {key: [str(path), _digest(path)] for key, path in files.items()}
            text = dump_json([self._settings, videos.name, videos.no_target, content])
            self._names[videos.name] = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32] + ".json"
        return self._names[videos.name]


def _digest(path: object) -> str | None:
    """SHA-256 of a file; None if this is no path, or if the file cannot be read."""
    with suppress(OSError):
        return sha256_of(path) if isinstance(path, Path) else None
    return None


def _versions(task: str) -> dict[str, str]:
    from toolkit.registry import entry

    plugin = entry(task)
    return installed(_LIBRARIES) | {plugin.distribution: plugin.version}
