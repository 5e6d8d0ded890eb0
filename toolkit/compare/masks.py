"""Masks of whole frames, for methods that know nothing about faces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from toolkit.edit.config import CropConfig
from toolkit.edit.masks import TaskMaskers, mask_blocks
from toolkit.edit.removal.paste_weights import feathered
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.tracks.crops import Cropper
from toolkit.edit.tracks.sightings import find_faces
from toolkit.edit.tracks.track import FaceTrack, SourceVideo, groups_of, tracks_of
from toolkit.errors import InputError
from toolkit.evaluate.measuring import DIFFERS, TARGET
from toolkit.evaluate.reading import InStep
from toolkit.faces.types import FaceAnalyser

SIDE = 512
"""px; side of the crops on which masks are found, as in the paper."""

_MASKED = "masked"


class FrameMasks:
    """The task's masks of all faces that an edit would change, in the coordinates of the frames.

    Masks are found once and stored, so iterating again is cheap.

    Args:
        source: the video.
        digest: its SHA-256.
        maskers: of the task.
        analyser: finds the faces.
        crop: which faces count, and how they are cut out.
        dilation: how far masks are widened, as a share of the crop's side.
        folder: for the stored masks, 0.3 MB for each frame and face.

    Raises:
        InputError: the video cannot be decoded.
    """

    def __init__(
        self,
        source: Path,
        digest: str,
        maskers: TaskMaskers,
        analyser: FaceAnalyser,
        crop: CropConfig,
        dilation: float,
        folder: Path,
    ):
        self._dilation, self._folder = dilation, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._sightings = find_faces(source, analyser, crop, folder)
        video = SourceVideo(source, digest)
        self._tracks = tracks_of(self._sightings, video, crop.crop_scale, SIDE, analyser.topology)
        with closing(Cropper(source)) as cropper:
            for group in groups_of(self._tracks):
                pending = [track for track in group if not (self._of(track) / _MASKED).exists()]
                if pending:
                    self._find(cropper, pending, maskers)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield bool ``[H, W]`` for each frame of the video."""
        import cv2

        height, width = self._sightings.size
        stores = {track.number: TrackStores(self._of(track), SIDE) for track in self._tracks}
        for index in range(len(self._sightings.times)):
            whole = np.zeros((height, width), bool)
            for track in self._tracks:
                if not track.start <= index < track.stop:
                    continue
                k = index - track.start
                mask = stores[track.number].masks(0).read(k, k + 1)[0] > 0
                if mask.any():
                    weights = feathered(mask, self._dilation * SIDE, 0)
                    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                    whole |= cv2.warpAffine(weights, track.to_crop(k), (width, height), flags=flags) >= 0.5
            yield whole
        for store in stores.values():
            store.close()

    def _of(self, track: FaceTrack) -> Path:
        return self._folder / track.name

    def _find(self, cropper: Cropper, tracks: list[FaceTrack], maskers: TaskMaskers) -> None:
        """Store the masks of tracks that share frames."""
        for track in tracks:
            self._of(track).mkdir(exist_ok=True)
        stores = {track.number: TrackStores(self._of(track), SIDE) for track in tracks}
        cropper.cut(tracks, lambda track, index, crop: stores[track.number].crops.write(index, crop[None]))
        for track in tracks:
            of_track = stores[track.number]
            for start, masks, *_ in mask_blocks(maskers, track, of_track.crops.read):
                of_track.masks(0).write(start, masks.astype(np.uint8))
            of_track.close()
            (self._of(track) / "crops").unlink()
            (self._of(track) / _MASKED).touch()


class TargetMasks:
    """The region where a video and its target differ: the attribute itself.

    Args:
        source, target: videos with the same number and size of frames.
    """

    def __init__(self, source: Path, target: Path):
        self._source, self._target = source, target

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield bool ``[H, W]`` for each frame.

        Raises:
            InputError: one of the videos cannot be decoded, or their frames differ in number or size.
        """
        stream = InStep(self._source, {TARGET: self._target}, 1)
        for chunk in stream:
            if TARGET in chunk.others:
                difference = np.abs(chunk.original[0].astype(np.int16) - chunk.others[TARGET][0]).max(axis=2)
                yield difference > DIFFERS
        if stream.problems:
            raise InputError(stream.problems[TARGET])
