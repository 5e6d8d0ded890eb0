"""Models, maskers and analysers of a run: loaded once, shared by all its videos."""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cached_property
from typing import Any, Self

from toolkit.clock import StageClock
from toolkit.edit.config import EditConfig
from toolkit.edit.masks import TaskMaskers
from toolkit.edit.pipelines import Pipelines
from toolkit.edit.resolve import resolve
from toolkit.edit.resolved import OWN_FRAME, ResolvedEdit
from toolkit.executor import available_cores
from toolkit.faces.config import build_analyser
from toolkit.faces.types import FaceAnalyser
from toolkit.versions import installed

_LIBRARIES = (
    *("vlasik-toolkit", "accelerate", "av", "diffusers", "mediapipe", "numpy", "opencv-contrib-python"),
    *("pyfacer", "scipy", "torch", "transformers"),
)


class Session:
    """Everything that a run loads. One thread may use it at a time.

    Args:
        config: settings of the edit.
        workers: threads that work on a video, or processes that work on a folder; None for the config's number.

    Raises:
        ToolkitError: as for `toolkit.edit.resolve.resolve`.
    """

    def __init__(self, config: EditConfig, workers: int | None = None):
        self.config = config
        self.resolved = resolve(config)
        """The settings with nothing left open."""
        self.workers = workers or config.workers or _default_workers(self.resolved)
        self.pipelines = Pipelines(self.resolved)
        """The networks."""
        self.clock = StageClock()
        """Adds up the time of each stage of the work on a video, over all sessions of a `crew`."""
        self.versions = installed(_LIBRARIES)
        """Versions of the libraries that the result depends on."""
        self._analysers: dict[int, FaceAnalyser] = {}

    @cached_property
    def crew(self) -> list[Self]:
        """Sessions for as many threads as there are `workers`: this one, and others that share its models."""
        return [self, *(self._sibling() for _ in range(self.workers - 1))]

    def _sibling(self) -> Self:
        other = copy.copy(self)
        for cached in ("crew", "maskers"):
            other.__dict__.pop(cached, None)
        other.pipelines, other._analysers = self.pipelines.sibling(), {}
        return other

    @cached_property
    def maskers(self) -> list[TaskMaskers] | None:
        """The maskers of each remover; None if no masks are needed."""
        if not self.resolved.masking.finds_masks:
            return None
        return [TaskMaskers(remover.tasks, self.resolved.options) for remover in self.resolved.removers]

    @property
    def analyser(self) -> FaceAnalyser:
        """The analyser that finds the faces of a video.

        Raises:
            ToolkitError: as for `toolkit.faces.config.build_analyser`.
        """
        return self._analyser(self.resolved.faces.max_faces)

    @property
    def single_face_analyser(self) -> FaceAnalyser:
        """The same analyser for crops, which show one face.

        Raises:
            ToolkitError: as for `toolkit.faces.config.build_analyser`.
        """
        return self._analyser(1)

    def _analyser(self, max_faces: int) -> FaceAnalyser:
        if max_faces not in self._analysers:
            device = self.resolved.compute.device
            self._analysers[max_faces] = build_analyser(self.resolved.faces, device, max_faces=max_faces)
        return self._analysers[max_faces]

    def description(self, digest: str) -> dict[str, Any]:
        """Everything that decides what the edited faces look like, as JSON values.

        Args:
            digest: SHA-256 of the video.
        """
        return {
            "source": digest,
            "settings": self.resolved.model_dump(mode="json"),
            "preview": self.config.writing.preview,
            "reading": self.config.reading.model_dump(mode="json"),
            "versions": self.versions,
        }

    def fingerprint(self, digest: str) -> str:
        """SHA-256 of everything that decides the output.

        Args:
            digest: SHA-256 of the video.
        """
        text = json.dumps([self.description(digest), self.config.writing.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _default_workers(resolved: ResolvedEdit) -> int:
    """One for each core, if one step of networks that look at one frame alone is all that they would share.

    Otherwise a single operation already uses all cores, or the GPU, and most of the memory.
    """
    motion = resolved.motion
    alone = not motion.motion_adapter and motion.reference_frames == OWN_FRAME
    light = alone and resolved.denoising.num_inference_steps == 1 and resolved.compute.device == "cpu"
    return available_cores() if light else 1
