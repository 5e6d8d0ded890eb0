"""Measures all edits of one original in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.errors import InputError
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.pairing import VideoSet
from toolkit.evaluate.reading import ORIGINAL, Chunk, InStep
from toolkit.evaluate.results import VideoResult
from toolkit.faces.types import Face
from toolkit.task import AttributeTask, FaceClip, Measure, as_masker

if TYPE_CHECKING:
    from toolkit.evaluate.arcface import ArcFace

TARGET = " target"
"""Name of the target among the videos. It cannot clash: a method's name never starts with a space."""

DIFFERS = 8
"""Levels, of 255; target and original differ by more than this inside the attribute."""


@dataclass(frozen=True)
class Job:
    """A set of videos and how to measure it; sent to worker processes."""

    videos: VideoSet
    config: EvaluateConfig
    task: AttributeTask


def measure_set(job: Job) -> dict[str, VideoResult]:
    """Measure the edits of one original.

    Returns:
        Method -> result. A video that cannot be measured has `failed` set.

    Raises:
        InputError: the original or the target cannot be read, or the target's frames do not match.
        ContractError: the task breaks its contract.
        ToolkitError: a library or weights are missing.
    """
    with closing(_Measuring(job)) as measuring:
        return measuring.run()


class _Measuring:
    def __init__(self, job: Job):
        from toolkit.evaluate.arcface import ArcFace, find_arcface
        from toolkit.evaluate.flow import choose_flow
        from toolkit.evaluate.quality import lpips_or_none
        from toolkit.evaluate.task_measures import measures_of
        from toolkit.evaluate.warp_error import WarpError
        from toolkit.faces.config import build_analyser
        from toolkit.faces.tracking import FaceTracker
        from toolkit.video import SceneCutDetector

        self._videos, self._config = job.videos, job.config
        config = job.config
        self._task = job.task
        self._measures: dict[str, Measure] = measures_of(self._task)
        self._analyser = build_analyser(config.faces, config.device)
        self._tracker, self._cuts = FaceTracker(), SceneCutDetector()
        self._warping = WarpError(choose_flow(config.flow, config.flow_weights, config.device), config.clip_length)
        embedder = find_arcface(config.arcface) if config.identity else None
        self._arcface = None if embedder is None else ArcFace(embedder)
        self._lpips = lpips_or_none() if job.videos.target is not None else None
        masked = config.mask == "task" and job.videos.target is not None
        self._masker = as_masker(self._task.masker()) if masked else None
        self._values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._times: list[float] = []
        self._without_face = 0
        self._previous: Chunk | None = None  # for measures of two consecutive frames

    def close(self) -> None:
        """Free the analyser's models."""
        self._analyser.close()

    def run(self) -> dict[str, VideoResult]:
        edited = {name: path for name, path in self._videos.edited.items() if not isinstance(path, str)}
        absent = {name: text for name, text in self._videos.edited.items() if isinstance(text, str)}
        others = dict(edited)
        if self._videos.target is not None:
            others[TARGET] = self._videos.target
        stream = InStep(self._videos.original, others, self._config.clip_length, self._config.reading.strict)
        for chunk in stream if edited else ():
            self._take(chunk, [name for name in edited if name in chunk.others])
        self._keep_warp(self._warping.finish())
        if TARGET in stream.problems:
            raise InputError(stream.problems[TARGET])
        results = {}
        for name in self._videos.edited:
            self._values[name]["warp_error"].insert(0, np.nan)  # the error belongs to the second of two frames
            problem = absent.get(name) or stream.problems.get(name)
            results[name] = self._result(name, problem, _notes(stream, name))
        return results

    def _take(self, chunk: Chunk, names: list[str]) -> None:
        self._times += chunk.times.tolist()
        tracks = self._faces(chunk)
        main = _largest(tracks, len(chunk.times))
        self._without_face += sum(points is None for points in main)
        if self._measures:
            self._of_task(chunk, names, tracks)
        if self._arcface is not None:
            self._identity(self._arcface, chunk, names, main)
        self._warp(chunk)
        if TARGET in chunk.others:
            self._against_target(chunk, names, tracks)
        self._previous = chunk

    # faces

    def _faces(self, chunk: Chunk) -> dict[int, np.ndarray]:
        """Track -> landmarks in the original, float32 ``[K, N, 3]``, NaN if the face is not seen; sorted by track."""
        tracks: dict[int, np.ndarray] = {}
        for k, frame in enumerate(chunk.original):
            if self._cuts.update(frame):
                self._analyser.reset()
                self._tracker.reset()
            faces: list[Face] = self._analyser.analyse(frame)
            for track, face in self._tracker.update(chunk.start + k, faces):
                if track not in tracks:
                    shape = (len(chunk.original), self._analyser.topology.count, 3)
                    tracks[track] = np.full(shape, np.nan, np.float32)
                tracks[track][k] = face.landmarks
        return dict(sorted(tracks.items()))

    def _clip(self, chunk: Chunk, frames: np.ndarray, landmarks: np.ndarray) -> FaceClip:
        height, width = frames.shape[1:3]
        frames.flags.writeable = False
        return FaceClip(
            frames=frames,
            landmarks=landmarks,
            topology=self._analyser.topology,
            times=chunk.times,
            start_frame=chunk.start,
            box=np.array([0, 0, width, height], np.float32),
            source=self._videos.name,
        )

    def _of_task(self, chunk: Chunk, names: list[str], tracks: dict[int, np.ndarray]) -> None:
        """The task's own measures; NaN for a frame without a face."""
        from toolkit.evaluate.task_measures import checked_values

        count = len(chunk.times)
        found: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        for landmarks in tracks.values():
            # One clip for all methods: a metric may cache results for it.
            original = self._clip(chunk, chunk.original, landmarks)
            for name in names:
                edited = self._clip(chunk, chunk.others[name], landmarks)
                for key, measure in self._measures.items():
                    values = checked_values(measure.metric(original, edited), count, key, self._task.name)
                    found[name, key].append(np.where(original.present, values, np.nan))
        for name in names:
            for key, measure in self._measures.items():
                self._values[name][key] += _over_faces(found[name, key], measure.over_faces, count).tolist()

    # identity

    def _identity(self, arcface: ArcFace, chunk: Chunk, names: list[str], main: list[np.ndarray | None]) -> None:
        from toolkit.evaluate.identity import align, five_points

        faces = {k: five_points(found, self._analyser.topology) for k, found in enumerate(main) if found is not None}

        def embedded(frames: np.ndarray) -> np.ndarray:
            return arcface.embed(np.stack([align(frames[k], points) for k, points in faces.items()]))

        references = {"identity": chunk.original}
        if TARGET in chunk.others:
            references["identity_target"] = chunk.others[TARGET]
        cosines = {(name, key): np.full(len(chunk.times), np.nan) for name in names for key in references}
        if faces:
            wanted = {key: embedded(frames) for key, frames in references.items()}
            for name in names:
                edited = embedded(chunk.others[name])
                for key, embeddings in wanted.items():
                    cosines[name, key][list(faces)] = (embeddings * edited).sum(axis=1)
        for (name, key), values in cosines.items():
            self._values[name][key] += values.tolist()

    # consistency

    def _warp(self, chunk: Chunk) -> None:
        for k, frame in enumerate(chunk.original):
            edited = [chunk.others[name][k] if name in chunk.others else None for name in self._videos.edited]
            self._keep_warp(self._warping.push(frame, edited))

    def _keep_warp(self, rows: list[list[float | None]]) -> None:
        for row in rows:
            for name, error in zip(self._videos.edited, row):
                self._values[name]["warp_error"].append(np.nan if error is None else error)

    # against a target

    def _against_target(self, chunk: Chunk, names: list[str], tracks: dict[int, np.ndarray]) -> None:
        from toolkit.evaluate.quality import psnr, ssim

        target = chunk.others[TARGET]
        inside = self._inside(chunk, target, tracks)
        functions = {"psnr": psnr, "ssim": ssim} | ({} if self._lpips is None else {"lpips": self._lpips})
        for name in names:
            edited, values = chunk.others[name], self._values[name]
            for pictures in zip(edited, target, inside):
                for key, function in functions.items():
                    for region, value in function(*pictures).items():
                        values[f"{key}_{region}"].append(value)
            moved, wanted = (
                np.diff(_with_last(self._previous, chunk, key).astype(np.float32), axis=0) for key in (name, TARGET)
            )
            first = len(target) - len(moved)
            values["temporal_error"] += [np.nan] * first + np.abs(moved - wanted).mean(axis=(1, 2, 3)).tolist()

    def _inside(self, chunk: Chunk, target: np.ndarray, tracks: dict[int, np.ndarray]) -> np.ndarray:
        """The region of the attribute, bool ``[K, H, W]``."""
        if self._masker is None:
            return np.abs(chunk.original.astype(np.int16) - target).max(axis=3) > DIFFERS
        masks = np.zeros(target.shape[:3], bool)
        for landmarks in tracks.values():
            masks |= np.asarray(self._masker(self._clip(chunk, chunk.original, landmarks))) >= 0.5
        return masks

    def _result(self, name: str, problem: str | None, notes: list[str]) -> VideoResult:
        edited = self._videos.edited[name]
        sides = {"original": str(self._videos.original), "edited": "" if isinstance(edited, str) else str(edited)}
        if problem is not None:
            return VideoResult(name=self._videos.name, failed=problem, notes=notes, **sides)
        values = self._values[name]
        means = {key: _of_video(key, series) for key, series in values.items()}
        identity = means.get("identity")
        for key, measure in self._measures.items():
            fidelity = means[key]
            if measure.fidelity and identity is not None and fidelity is not None:
                means[f"identity_{key}"] = identity * fidelity
        if self._without_face:
            notes.append(f"no face in {self._without_face} of {len(self._times)} frames of the original")
        if len(self._times) == 1:
            notes.append("one frame only, so consistency cannot be measured")
        if self._videos.no_target:
            notes.append(f"not compared with a target: {self._videos.no_target}")
        return VideoResult(
            name=self._videos.name,
            frames=len(self._times),
            frames_without_face=self._without_face,
            values=means,
            per_frame={key: [None if np.isnan(x) else float(x) for x in series] for key, series in values.items()},
            times=[round(float(time), 6) for time in self._times],
            notes=notes,
            **sides,
        )


def _notes(stream: InStep, name: str) -> list[str]:
    """What was noticed while the original, an edit and the target were read."""
    sides = {"the original": ORIGINAL, "the edited video": name, "the target": TARGET}
    return [f"{side}: {note.sentence}" for side, key in sides.items() for note in stream.notes.get(key, ())]


def _largest(tracks: dict[int, np.ndarray], count: int) -> list[np.ndarray | None]:
    """Landmarks ``[N, 3]`` of each frame's largest face; None if it has no face."""
    result: list[np.ndarray | None] = []
    for k in range(count):
        seen = [points[k] for points in tracks.values() if np.isfinite(points[k]).all()]
        result.append(max(seen, key=lambda points: np.ptp(points[:, :2], axis=0).prod(), default=None))
    return result


def _over_faces(values: Sequence[np.ndarray], how: str, count: int) -> np.ndarray:
    """Combine the values of a frame's faces, float64 ``[K]`` for `count` frames; NaN if no face has a value."""
    if not values:
        return np.full(count, np.nan)
    stacked = np.stack(values)
    known = (~np.isnan(stacked)).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    if how == "mean":
        total = total / np.maximum(known, 1)
    return np.where(known > 0, total, np.nan)


def _with_last(previous: Chunk | None, chunk: Chunk, name: str) -> np.ndarray:
    """A chunk's frames, preceded by the last frame of the chunk before."""
    if previous is None:
        return chunk.others[name]
    return np.concatenate([previous.others[name][-1:], chunk.others[name]])


def _of_video(key: str, series: Sequence[float]) -> float | None:
    """Average a measure over the frames that have a value; PSNR is averaged as mean squared error."""
    from toolkit.evaluate.quality import psnr_of_video

    if key.startswith("psnr_"):
        return psnr_of_video(series)
    values = np.array(series, np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else None
