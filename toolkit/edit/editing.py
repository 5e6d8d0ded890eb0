"""From sightings to patches: every run is cut out, goes through the removers and is watched."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from toolkit.edit.composite import write_patch
from toolkit.edit.crops import CROPPED, Cropper, landmarks_in_crops
from toolkit.edit.faces import FaceRun, Sightings, groups_of
from toolkit.edit.regions import Squares, follow
from toolkit.edit.removal import Removal, RunInput, RunStores, layer, result_of, windows_of
from toolkit.edit.report import EditObserver, FaceReport, Warned
from toolkit.edit.watch import Watch, warnings_of
from toolkit.edit.workplace import Workplace
from toolkit.faces.topology import Topology

if TYPE_CHECKING:
    from toolkit.edit.engine import Editor

RESULT = "result.json"

_BLOCK = 32


class RunResult(BaseModel):
    """What became of a run; `faces` has one entry for each frame. The patches lie in its folder."""

    faces: list[FaceReport]
    warnings: list[Warned]
    seconds: float


def edit_runs(
    editor: Editor,
    source: Path,
    digest: str,
    sightings: Sightings,
    runs: list[FaceRun],
    place: Workplace,
    observer: EditObserver,
) -> list[RunResult]:
    """Edit all runs of a video; those that an earlier process finished are only read.

    Raises:
        ToolkitError: as for `toolkit.edit.edit_video`.
    """
    return _Editing(editor, source, digest, sightings, runs, place, observer).all()


@dataclass
class _Editing:
    editor: Editor
    source: Path
    digest: str
    sightings: Sightings
    runs: list[FaceRun]
    place: Workplace
    observer: EditObserver

    def __post_init__(self) -> None:
        models = self.editor.models
        self._side, self._count = models.resolution, len(models.removers)
        self._windows = 0
        self._removal = Removal(self.editor.config, models, self.editor.maskers, self._more)
        self._total = [windows_of(len(run), self.editor.config, self._removal.looks) for run in self.runs]

    def _more(self, windows: int) -> None:
        self._windows += windows
        self.observer.advance(self._windows)

    def all(self) -> list[RunResult]:
        self.observer.phase("editing", sum(self._total), "windows")
        cropper, results = Cropper(self.source, self._side), {}
        for group in groups_of(self.runs):
            pending = []
            for run in group:
                text = self.place.read(f"run-{run.number}/{RESULT}")
                if text is None:
                    pending.append(run)
                else:
                    results[run.number] = RunResult.model_validate_json(text)
            if pending:
                results |= self._group(cropper, pending)
            self._windows = sum(self._total[number] for number in results)
            self.observer.advance(self._windows)
        return [results[run.number] for run in self.runs]

    def _group(self, cropper: Cropper, runs: list[FaceRun]) -> dict[int, RunResult]:
        folders = {run.number: self.place.folder(f"run-{run.number}") for run in runs}
        squares = {run.number: squares_of(run, self.sightings, self.editor.config.region.padding) for run in runs}
        uncut = [run for run in runs if not (folders[run.number] / CROPPED).exists()]
        if uncut:
            cropper.cut(uncut, squares, folders)
        results = {}
        for run in runs:
            begun = time.monotonic()
            given = self._input(run, squares[run.number], folders[run.number])
            self._removal.run(given)
            result = self._finish(run, given)
            result.seconds = time.monotonic() - begun
            self.place.write(f"run-{run.number}/{RESULT}", result.model_dump_json())
            clear(folders[run.number])
            results[run.number] = result
        return results

    def _input(self, run: FaceRun, squares: Squares, folder: Path) -> RunInput:
        topology = self.editor.analyser(self.editor.config.region.max_faces).topology
        return input_of(run, squares, self.sightings, folder, self._side, topology, (self.source.name, self.digest))

    def _times(self, run: FaceRun) -> np.ndarray:
        return self.sightings.times[run.start : run.stop]

    def _finish(self, run: FaceRun, given: RunInput) -> RunResult:
        """Write the patches and look at every frame."""
        patches = given.folder / "patches"
        patches.mkdir(exist_ok=True)
        stores, watch, last = RunStores(given.folder, self._side), Watch(self.editor.analyser(1)), self._count - 1
        faces, landmarks = [], np.empty(0)
        for k in range(len(run)):
            if k % _BLOCK == 0:
                landmarks = given.landmarks(k, min(k + _BLOCK, len(run)))
            colours, weights = layer(stores, last, k, k + 1)
            original, result = stores.read("crops", k, k + 1)[0], result_of(stores, last, k, k + 1)[0]
            if weights.any():
                write_patch(patches / f"{k:06d}.png", colours[0], weights[0])
            values = watch.look(original, result, weights[0], landmarks[k % _BLOCK])
            faces.append(
                FaceReport(
                    run=run.number,
                    found=bool(run.found[k]),
                    confidence=round(float(run.scores[k]), 4),
                    box=[round(float(side), 1) for side in run.boxes[k]],
                    turn=round(float(given.turns[k]), 1),
                    mask=self._masked(stores, k),
                    **{name: None if value is None else round(value, 4) for name, value in values.items()},
                )
            )
        stores.close()
        limit = self.editor.config.region.max_turn
        warnings = warnings_of(run.number, run.start, faces, self._times(run), limit)
        for warned in warnings:
            self.observer.warning(warned.sentence)
        return RunResult(faces=faces, warnings=warnings, seconds=0.0)

    def _masked(self, stores: RunStores, k: int) -> float | None:
        if self.editor.maskers is None:
            return None
        masks = [stores.read(f"mask-{index}", k, k + 1, 1) > 0 for index in range(self._count)]
        return round(float(np.any(masks, axis=0).mean()), 4)


def input_of(
    run: FaceRun,
    squares: Squares,
    sightings: Sightings,
    folder: Path,
    side: int,
    topology: Topology,
    source: tuple[str, str],
) -> RunInput:
    """What is known of a run whose crops of `side` pixels lie in `folder`.

    Args:
        source: name and digest of the video.
    """
    from toolkit.faces.smoothing import smooth_landmarks
    from toolkit.faces.turning import turns

    times = sightings.times[run.start : run.stop]

    def landmarks(start: int, stop: int) -> np.ndarray:
        low, high = max(0, start - 10), min(len(run), stop + 10)  # as far as the smoothing sees
        points = smooth_landmarks(run.landmarks(sightings, low, high), times[low:high])
        return landmarks_in_crops(points[start - low : stop - low], squares, start, side)

    blocks = [landmarks(start, min(start + _BLOCK, len(run))) for start in range(0, len(run), _BLOCK)]
    return RunInput(
        folder=folder,
        count=len(run),
        start=run.start,
        landmarks=landmarks,
        topology=topology,
        times=times,
        turns=np.concatenate([turns(points, topology.mean) for points in blocks]),
        box=np.concatenate([squares.centres[0] - squares.sides[0] / 2, squares.centres[0] + squares.sides[0] / 2]),
        source=source,
        name=f"run-{run.number}",
    )


def squares_of(run: FaceRun, sightings: Sightings, padding: float) -> Squares:
    """The squares that follow a run's face."""
    return follow(run.boxes, sightings.times[run.start : run.stop], padding)


def clear(folder: Path) -> None:
    """Remove a finished run's intermediate files; its result and its patches stay."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "patches":
            shutil.rmtree(path)
        elif path.is_file() and path.name != RESULT:
            path.unlink()
