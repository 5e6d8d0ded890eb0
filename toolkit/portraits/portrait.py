"""Loads frontal portraits onto a canvas of fixed size, with matte, landmarks and depth."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.errors import InputError, MissingExtra
from toolkit.files import atomic

SIDE = 384
"""Width and height of the canvas in pixels."""
FACE = 0.42
"""Width of the face's box divided by that of the canvas; both have the same centre."""
_VERSION = 3
"""Version of the cached files."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A portrait on its canvas; lengths are in pixels of the canvas.

    Attributes:
        name: name of the file.
        image: uint8 ``[SIDE, SIDE, 3]``, RGB.
        matte: float32 ``[SIDE, SIDE]`` in 0..1, 1 on the person.
        landmarks: float32 ``[478, 3]``, those of mediapipe.
        depth: float32 ``[SIDE, SIDE]``, z of the surface away from the viewer; on the face, that of the landmarks.
        photo: the picture that the portrait was loaded from; None if it was made otherwise.
    """

    name: str
    image: np.ndarray
    matte: np.ndarray
    landmarks: np.ndarray
    depth: np.ndarray
    photo: Photo | None = None


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture in its own resolution.

    Attributes:
        file: the picture.
        to_canvas: float64 ``[2, 3]``, the matrix from its pixels to those of the canvas: scale and shift.
    """

    file: Path
    to_canvas: np.ndarray

    def read(self) -> np.ndarray:
        """The picture, uint8 ``[H, W, 3]``, RGB.

        Raises:
            InputError: it cannot be read any more.
        """
        return _decoded(self.file, _read(self.file))


def load_portraits(files: Sequence[Path], cache: Path | None = None) -> list[Portrait]:
    """Load portraits: each shows one frontal face. Backgrounds are cut away.

    Args:
        files: pictures.
        cache: folder that keeps the results; created if it does not exist.

    Raises:
        InputError: there are no files, or one cannot be read or shows no face; the message names it.
        MissingExtra: the installed mediapipe has no matting model.
    """
    if not files:
        raise InputError("synthetic people need at least one portrait, found none")
    analyser = segmenter = None
    found = []
    try:
        for file in map(Path, files):
            data = _read(file)
            kept = None if cache is None else Path(cache, f"{hashlib.sha256(data).hexdigest()[:24]}-{_VERSION}.npz")
            portrait = None if kept is None else _kept(kept, file)
            if portrait is not None:
                found.append(portrait)
                continue
            if analyser is None:
                analyser, segmenter = _models()
            portrait = _analyse(file, data, analyser, segmenter)
            found.append(portrait)
            if kept is not None:
                _keep(kept, portrait)
    finally:
        for model in (analyser, segmenter):
            if model is not None:
                model.close()
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"the portrait {file} cannot be read ({error.strerror}); check the path") from None


def _models():
    from toolkit.faces.config import FaceConfig, build_analyser
    from toolkit.faces.mediapipe_solutions import Solution

    try:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
    except ImportError as error:
        raise MissingExtra(
            "synthetic people need the matting model of mediapipe up to 0.10.21: pip install 'mediapipe==0.10.21'"
        ) from error

    return build_analyser(FaceConfig(max_faces=1)), Solution(lambda: SelfieSegmentation(model_selection=0))


def _kept(path: Path, file: Path) -> Portrait | None:
    """Read a portrait from the cache; None if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as values:
            arrays = {key: values[key] for key in ("image", "matte", "landmarks", "depth")}
            return Portrait(file.name, **arrays, photo=Photo(file, values["to_canvas"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _keep(path: Path, portrait: Portrait) -> None:
    assert portrait.photo is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, shared=True) as staged, staged.open("wb") as stream:
        np.savez_compressed(
            stream,
            image=portrait.image,
            matte=portrait.matte,
            landmarks=portrait.landmarks,
            depth=portrait.depth,
            to_canvas=portrait.photo.to_canvas,
        )


def _decoded(file: Path, data: bytes) -> np.ndarray:
    import cv2

    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if decoded is None:
        raise InputError(f"expected a JPEG or PNG picture, found something else in {file}")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _analyse(file: Path, data: bytes, analyser, segmenter) -> Portrait:
    import cv2

    image = _decoded(file, data)
    analyser.reset()
    faces = analyser.analyse(image)
    if not faces:
        raise InputError(f"expected a portrait, but no face was found in {file}; leave it out")
    points = faces[0].landmarks
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    scale = SIDE * FACE / float((high - low).max())
    shift = SIDE / 2 - scale * (low + high) / 2
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    size = (SIDE, SIDE)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = cv2.warpAffine(image, move, size, flags=method, borderMode=cv2.BORDER_REPLICATE)
    landmarks = (points * scale + np.append(shift, 0)).astype(np.float32)
    matte = segmenter.process(canvas).segmentation_mask.astype(np.float32)
    matte = cv2.ximgproc.guidedFilter(canvas, np.clip((matte - 0.3) / 0.5, 0, 1), 6, 120.0)
    inside = cv2.warpAffine(np.ones(image.shape[:2], np.float32), move, size)
    depth = relief(landmarks, matte)
    return Portrait(file.name, canvas, np.clip(matte, 0, 1) * inside, landmarks, depth, Photo(file, move))


def relief(landmarks: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """Estimate the depth of every pixel: that of the landmarks on the face, and around it a head that curves away.

    Args:
        landmarks: float32 ``[478, 3]`` in pixels.
        matte: ``[S, S]``.
    """
    import cv2
    from scipy.interpolate import RBFInterpolator

    side = len(matte)
    face = landmarks[:468:2]
    low, high = face[:, :2].min(axis=0), face[:, :2].max(axis=0)
    width = float(high[0] - low[0])
    chin = float(landmarks[152, 1])
    contours, _ = cv2.findContours((matte > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=len)[:, 0].astype(np.float32) if contours else np.zeros((0, 2), np.float32)
    middle = (low + high) / 2
    near = np.abs(outline[:, 0] - middle[0]) < 1.1 * width
    head = outline[near & (outline[:, 1] < chin)][::12]
    points, depths = [face[:, :2]], [face[:, 2]]
    if len(head):
        points.append(head)
        depths.append(np.full(len(head), 0.62 * width))
    # Neck and shoulders are behind the chin.
    x = np.linspace(0, side, 5)
    for row, depth in ((chin + 0.35 * width, 0.35), (chin + 0.8 * width, 0.3), (chin + 1.4 * width, 0.3)):
        points.append(np.stack([x, np.full(5, row)], axis=1))
        depths.append(np.full(5, depth * width))
    cell = 6
    spline = RBFInterpolator(np.concatenate(points), np.concatenate(depths), smoothing=2.0, neighbors=60)
    grid = np.arange(0, side, cell) + cell / 2
    at = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    coarse = spline(at).reshape(len(grid), len(grid)).astype(np.float32)
    coarse = np.clip(coarse, face[:, 2].min(), 0.75 * width)
    depth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_LINEAR)
    # The depth of hair and ears is smoothed, because folds would tear when the head turns.
    inner = np.zeros((side, side), np.float32)
    cv2.fillConvexPoly(inner, cv2.convexHull(face[:, :2].astype(np.int32)), 1.0)
    inner = cv2.GaussianBlur(inner, (0, 0), 0.03 * width)
    smooth = cv2.GaussianBlur(depth, (0, 0), 0.08 * width)
    return smooth + inner * (depth - smooth)
