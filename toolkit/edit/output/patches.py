"""Edited crops as files, and back into the frame with a soft edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.edit.output.territories import Territory, shares
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.tracks.crops import reach
from toolkit.edit.tracks.layers import Layers
from toolkit.edit.tracks.squares import scale_of
from toolkit.edit.tracks.track import FaceTrack

PATCHES = "patches"
"""Name of the folder with a track's patches."""

MARGIN = 0.04
"""Width of a crop's soft rim, as a share of its side: whatever the mask says, the crop's own edge never shows."""

NEAR = 7
"""Side of the square around a pasted pixel in which colours are kept, in pixels of the crop."""


class PatchPaster:
    """Pastes the patches of all tracks into the frames of a video, which come in order.

    Where faces overlap, each pixel belongs to one of them, and the others' patches leave it alone.

    Args:
        tracks: the tracks, in the order of their first frames.
        root: folder that holds a folder for each track.
    """

    def __init__(self, tracks: Sequence[FaceTrack], root: Path):
        self._tracks, self._root, self._layers = list(tracks), root, Layers()

    def onto(self, image: np.ndarray, index: int) -> np.ndarray:
        """A frame with everything that was edited in it; the frame itself if nothing was."""
        patches = {}
        for track in self._tracks:
            if track.start > index:
                break
            if index >= track.stop:
                continue
            patch = read_patch(_path(self._root / track.name, index - track.start))
            if patch is not None:
                patches[track] = patch
        result = image
        for track, share in self._shares(list(patches), index, image.shape):
            result = paste(result, *patches[track], track.to_crop(index - track.start), share)
        while self._tracks and self._tracks[0].stop <= index:
            self._tracks.pop(0)
        return result

    def _shares(
        self, tracks: list[FaceTrack], index: int, shape: tuple[int, ...]
    ) -> list[tuple[FaceTrack, np.ndarray | None]]:
        """The tracks from back to front, and how much of its pixels each may change."""
        if len(tracks) < 2:
            return [(track, None) for track in tracks]
        layers = self._layers
        tracks = layers.from_back(tracks, index)
        faces = []
        for track in tracks:
            k = index - track.start
            hull = track.sighted_landmarks(k, k + 1)[0, :, :2]
            faces.append(Territory(hull, reach(track.to_crop(k), track.side, shape, pad=0)))
        return list(zip(tracks, shares(faces, lambda one, other: layers.in_front(tracks[one], tracks[other], index))))


def write_patches(track: FaceTrack, stores: TrackStores, removers: int) -> None:
    """Write the edited frames of a track into its folder.

    Args:
        track: the face.
        stores: its pictures, after all removers.
        removers: number of removers.
    """
    (stores.folder / PATCHES).mkdir(exist_ok=True)
    for k in range(len(track)):
        colours, weights = stores.edit(removers - 1, k, k + 1)
        if weights.any():
            write_patch(_path(stores.folder, k), colours[0], weights[0])


def _path(folder: Path, index: int) -> Path:
    return folder / PATCHES / f"{index:06d}.png"


def write_patch(path: Path, colours: np.ndarray, weights: np.ndarray) -> None:
    """Write an edited crop as a PNG with transparency.

    Args:
        path: the file.
        colours: ``[R, R, 3]`` in 0..255, RGB.
        weights: ``[R, R]`` in 0..1, stored in 255 steps.
    """
    import cv2

    alpha = np.rint(255 * weights).astype(np.uint8)
    # Interpolation looks two pixels beyond the pixels that count; colours farther away need not be stored.
    near = cv2.dilate(alpha, np.ones((NEAR, NEAR), np.uint8)) > 0
    rgb = np.where(near[..., None], np.rint(colours), 0).astype(np.uint8)
    _, data = cv2.imencode(".png", np.dstack([rgb[..., ::-1], alpha]), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    path.write_bytes(data.tobytes())


def read_patch(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Colours uint8 ``[R, R, 3]``, RGB, and weights float32 ``[R, R]`` in 0..1; None if nothing was edited."""
    import cv2

    if not path.is_file():
        return None
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(picture[..., 2::-1]), picture[..., 3].astype(np.float32) / 255


def paste(
    frame: np.ndarray, edited: np.ndarray, weights: np.ndarray, to_crop: np.ndarray, share: np.ndarray | None = None
) -> np.ndarray:
    """Paste an edited crop into a frame.

    Args:
        frame: uint8 ``[H, W, 3]``; not changed.
        edited: uint8 ``[R, R, 3]``.
        weights: float ``[R, R]`` in 0..1; 1 replaces the frame.
        to_crop: the matrix that the crop was cut with.
        share: float ``[h, w]`` in 0..1 for the pixels of `reach`: how much of them may change; None for all.

    Returns:
        uint8 ``[H, W, 3]``; equal to `frame` to the last bit where the weight is 0, and outside the crop.
    """
    import cv2

    resolution, scale = len(edited), scale_of(to_crop)
    x0, y0, x1, y1 = reach(to_crop, resolution, frame.shape, pad=0)
    if x0 >= x1 or y0 >= y1:
        return frame.copy()
    from_frame = to_crop @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]])
    flags = (cv2.INTER_LINEAR if scale > 1 else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    size = (x1 - x0, y1 - y0)
    smooth = _smoothed(edited, weights, scale)
    picture = cv2.warpAffine(smooth, from_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    rimmed = (weights * _rim(resolution)).astype(np.float32)
    rimmed = cv2.warpAffine(rimmed, from_frame, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    rimmed = (rimmed if share is None else rimmed * share)[..., None]
    result = frame.copy()
    below = frame[y0:y1, x0:x1]
    mixed = below + rimmed * (picture.astype(np.float32) - below)
    result[y0:y1, x0:x1] = np.where(rimmed > 0, np.rint(mixed), below).astype(np.uint8)
    return result


def _smoothed(edited: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """A crop without detail finer than the frame's pixels; pixels whose colours were not kept do not bleed in.

    Args:
        edited: uint8 ``[R, R, 3]``.
        weights: float ``[R, R]`` in 0..1.
        scale: pixels of the crop for one of the frame.
    """
    import cv2

    if scale <= 1:
        return edited
    sigma = 0.5 * np.sqrt(scale**2 - 1) + 1e-3
    known = cv2.dilate((weights > 0).astype(np.float32), np.ones((NEAR, NEAR), np.uint8))
    total = cv2.GaussianBlur(known, (0, 0), sigma)[..., None]
    colours = cv2.GaussianBlur(edited * known[..., None], (0, 0), sigma)
    return np.where(total > 1e-3, colours / np.maximum(total, 1e-3), edited).astype(np.float32)


def _rim(resolution: int) -> np.ndarray:
    """float64 ``[R, R]``: 1 inside, falling to 0 at the edges along half a cosine."""
    width = max(1.0, MARGIN * resolution)
    distance = np.minimum(np.arange(resolution), np.arange(resolution)[::-1])
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / width, 0, 1))
    return np.minimum.outer(ramp, ramp)
