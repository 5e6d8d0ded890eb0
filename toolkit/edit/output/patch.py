"""The part of an edited crop that is pasted, and its file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NEAR = 7
"""Side of the square around a pasted pixel in which colours are kept, in pixels of the crop."""


@dataclass(frozen=True, eq=False)
class Patch:
    """The part of an edited crop that is pasted, with a margin for interpolation.

    Attributes:
        left, top: its upper left pixel in the crop.
        side: of the crop in pixels.
        colours: uint8 ``[h, w, 3]``, RGB.
        weights: uint8 ``[h, w]``: how much of them is pasted, in steps of 1/255.
        detail: where the frame's own detail stays; None if it stays nowhere.
    """

    left: int
    top: int
    side: int
    colours: np.ndarray
    weights: np.ndarray
    detail: PatchDetail | None = None


@dataclass(frozen=True, eq=False)
class PatchDetail:
    """What is needed to paste a difference instead of colours.

    Attributes:
        before: uint8 ``[h, w, 3]``, RGB: the crop before the edit.
        replaced: uint8 ``[h, w]``, at most the patch's weights: how much of the frame is replaced by the patch's
            colours, in steps of 1/255. For the rest of the weights, the frame stays, and the difference between the
            colours and `before` is added.
    """

    before: np.ndarray
    replaced: np.ndarray


def patch_of(
    colours: np.ndarray, weights: np.ndarray, before: np.ndarray | None = None, replaced: np.ndarray | None = None
) -> Patch | None:
    """The patch of an edited crop; None if nothing is pasted.

    Args:
        colours: uint8 ``[R, R, 3]``, RGB.
        weights: uint8 ``[R, R]``, in steps of 1/255.
        before, replaced: as for `PatchDetail`, of the whole crop; None to replace everything.
    """
    import cv2

    x, y, width, height = cv2.boundingRect(weights)
    if not width:
        return None
    # Interpolation looks two pixels beyond the pixels that count; colours farther away need not be stored.
    left, top = max(0, x - NEAR // 2), max(0, y - NEAR // 2)
    area = slice(top, y + height + NEAR // 2), slice(left, x + width + NEAR // 2)
    detail = None
    if before is not None and replaced is not None and (replaced != weights).any():
        detail = PatchDetail(before[area], replaced[area])
    return Patch(left, top, len(weights), colours[area], weights[area], detail)


_HEADER = struct.Struct("<4I")


def write_patch(path: Path, patch: Patch) -> None:
    """Write a patch: its place, the side of the crop and the length of a PNG, then that PNG with transparency.

    If the frame's detail stays anywhere, a second PNG holds the crop before the edit, and what is replaced as its
    transparency.
    """
    import cv2

    near = cv2.dilate(patch.weights, np.ones((NEAR, NEAR), np.uint8)) > 0
    picture = _png(patch.colours, patch.weights, near)
    second = b"" if patch.detail is None else _png(patch.detail.before, patch.detail.replaced, near)
    path.write_bytes(_HEADER.pack(patch.left, patch.top, patch.side, len(picture)) + picture + second)


def read_patch(path: Path) -> Patch | None:
    """A patch; None if nothing was edited."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    left, top, side, length = _HEADER.unpack_from(data)
    end = _HEADER.size + length
    detail = PatchDetail(*_decoded(data[end:])) if len(data) > end else None
    return Patch(left, top, side, *_decoded(data[_HEADER.size : end]), detail)


def _png(colours: np.ndarray, transparency: np.ndarray, near: np.ndarray) -> bytes:
    import cv2

    picture = np.dstack([(colours * near[..., None])[..., ::-1], transparency])
    return cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _decoded(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(picture[..., 2::-1]), np.ascontiguousarray(picture[..., 3])
