"""Edited crops back into the frame, with a soft edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from toolkit.edit.output.patch import NEAR, Patch, patch_of, read_patch, write_patch
from toolkit.edit.output.territories import Area, Territory, shares
from toolkit.edit.removal.stores import TrackStores
from toolkit.edit.tracks.crops import reach
from toolkit.edit.tracks.layers import Layers
from toolkit.edit.tracks.squares import scale_of
from toolkit.edit.tracks.track import FaceTrack

PATCHES = "patches"
"""Name of the folder with a track's patches."""

MARGIN = 0.04
"""Width of a crop's soft rim, as a share of its side: whatever the mask says, the crop's own edge never shows."""


class PatchPaster:
    """Pastes the patches of all tracks into the frames of a video, which come in order.

    Where faces overlap, each pixel belongs to one of them, and the others' patches leave it alone.

    Args:
        tracks: the tracks, in the order of their first frames.
        root: folder that holds a folder for each track.
    """

    def __init__(self, tracks: Sequence[FaceTrack], root: Path):
        self._tracks, self._root, self._layers = list(tracks), root, Layers()

    def onto(self, image: np.ndarray, index: int) -> tuple[np.ndarray, Area | None]:
        """A frame with everything that was edited in it, and the area outside which nothing was.

        The frame itself and None if nothing was edited in it.
        """
        patches = {}
        for track in self._tracks:
            if track.start > index:
                break
            if index >= track.stop:
                continue
            patch = read_patch(_path(self._root / track.name, index - track.start))
            if patch is not None:
                patches[track] = patch
        result, changed = image, None
        for track, share in self._shares(list(patches), index, image.shape):
            part = pasted(result, patches[track], track.to_crop(index - track.start), share)
            if part is None:
                continue
            if changed is None:
                result = image.copy()
            (x0, y0, x1, y1), pixels = part
            result[y0:y1, x0:x1] = pixels
            changed = (x0, y0, x1, y1) if changed is None else _around(changed, (x0, y0, x1, y1))
        while self._tracks and self._tracks[0].stop <= index:
            self._tracks.pop(0)
        return result, changed

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
        weights = stores.paste_weights(removers - 1).read(k, k + 1)[0]
        if weights.any():
            colours, before = stores.colours(removers - 1).read(k, k + 1)[0], stores.crops.read(k, k + 1)[0]
            patch = patch_of(colours, weights, before, stores.replaced(removers - 1).read(k, k + 1)[0])
            assert patch is not None
            write_patch(_path(stores.folder, k), patch)


def _path(folder: Path, index: int) -> Path:
    return folder / PATCHES / f"{index:06d}.patch"


def pasted(
    frame: np.ndarray, patch: Patch, to_crop: np.ndarray, share: np.ndarray | None = None
) -> tuple[Area, np.ndarray] | None:
    """The part of a frame that changes when a patch is pasted into it.

    Args:
        frame: uint8 ``[H, W, 3]``; not changed.
        patch: of an edited crop.
        to_crop: the matrix that the crop was cut with.
        share: float ``[h, w]`` in 0..1 for the pixels of the crop's `reach`: how much of them may change; None for all.

    Returns:
        The area, and its new pixels, uint8 ``[h, w, 3]``, equal to the frame to the last bit where the weight is 0;
        None if the patch lies outside the frame.
    """
    import cv2

    scale = scale_of(to_crop)
    whole = reach(to_crop, patch.side, frame.shape, pad=0)
    area = _common(whole, _area_of(patch, to_crop))
    if area is None:
        return None
    x0, y0, x1, y1 = area
    from_frame = to_crop @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]]) - [[0, 0, patch.left], [0, 0, patch.top]]
    flags = (cv2.INTER_LINEAR if scale > 1 else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    size = (x1 - x0, y1 - y0)
    rim = _rim(patch.side)[patch.top : patch.top + len(patch.weights), patch.left : patch.left + patch.weights.shape[1]]

    def warped(colours: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(colours, from_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)

    def rimmed(weights: np.ndarray) -> np.ndarray:
        inner = (weights * rim).astype(np.float32) / 255
        inner = cv2.warpAffine(inner, from_frame, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        if share is not None:
            inner *= share[y0 - whole[1] : y1 - whole[1], x0 - whole[0] : x1 - whole[0]]
        return inner[..., None]

    below = frame[y0:y1, x0:x1]
    smooth = _smoothed(patch.colours, patch.weights, scale)
    # A weight of 0 leaves the frame's own value, which is a whole number.
    if patch.detail is None:
        mixed = below + rimmed(patch.weights) * (warped(smooth).astype(np.float32) - below)
        return area, np.rint(mixed, out=mixed).astype(np.uint8)
    before = _smoothed(patch.detail.before, patch.weights, scale).astype(np.float32)
    mixed = below + rimmed(patch.weights) * warped(smooth - before)
    mixed += rimmed(patch.detail.replaced) * (warped(before) - below)  # what the crop did not hold of the frame
    return area, np.rint(np.clip(mixed, 0, 255, out=mixed), out=mixed).astype(np.uint8)


def paste(
    frame: np.ndarray, edited: np.ndarray, weights: np.ndarray, to_crop: np.ndarray, share: np.ndarray | None = None
) -> np.ndarray:
    """Paste an edited crop into a frame.

    Args:
        frame: uint8 ``[H, W, 3]``; not changed.
        edited: uint8 ``[R, R, 3]``.
        weights: float ``[R, R]`` in 0..1; 1 replaces the frame. Rounded to steps of 1/255.
        to_crop, share: as for `pasted`.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    result = frame.copy()
    patch = patch_of(edited, np.rint(255 * weights).astype(np.uint8))
    part = None if patch is None else pasted(frame, patch, to_crop, share)
    if part is not None:
        (x0, y0, x1, y1), pixels = part
        result[y0:y1, x0:x1] = pixels
    return result


def _area_of(patch: Patch, to_crop: np.ndarray) -> Area:
    """Pixels of the frame that a patch may change."""
    height, width = patch.weights.shape
    corners = np.array([[patch.left + x, patch.top + y] for x in (-1, width) for y in (-1, height)])
    places = np.linalg.solve(to_crop[:, :2], (corners - to_crop[:, 2]).T)
    low, high = np.floor(places.min(axis=1)).astype(int), np.ceil(places.max(axis=1)).astype(int) + 1
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _common(one: Area, other: Area) -> Area | None:
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    x1, y1 = min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _around(one: Area, other: Area) -> Area:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def _smoothed(colours: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """Colours without detail finer than the frame's pixels; pixels that were not kept do not bleed in.

    Args:
        colours: uint8 ``[h, w, 3]``.
        weights: uint8 ``[h, w]``.
        scale: pixels of the crop for one of the frame.
    """
    import cv2

    if scale <= 1:
        return colours
    sigma = 0.5 * np.sqrt(scale**2 - 1) + 1e-3
    known = cv2.dilate((weights > 0).astype(np.float32), np.ones((NEAR, NEAR), np.uint8))
    border = {"borderType": cv2.BORDER_CONSTANT}  # beyond the patch, nothing was kept
    total = cv2.GaussianBlur(known, (0, 0), sigma, **border)[..., None]
    blurred = cv2.GaussianBlur(colours * known[..., None], (0, 0), sigma, **border)
    return np.where(total > 1e-3, blurred / np.maximum(total, 1e-3), colours).astype(np.float32)


@lru_cache(maxsize=4)
def _rim(resolution: int) -> np.ndarray:
    """float64 ``[R, R]``: 1 inside, falling to 0 at the edges along half a cosine."""
    width = max(1.0, MARGIN * resolution)
    distance = np.minimum(np.arange(resolution), np.arange(resolution)[::-1])
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / width, 0, 1))
    return np.minimum.outer(ramp, ramp)
