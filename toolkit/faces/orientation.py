"""Finds faces that lie or are upside down, which models of upright faces miss or take for upright ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from toolkit.faces.plausible import box_around, iou, plausible_faces
from toolkit.faces.turning import apart, rolls
from toolkit.faces.types import Face

SURROUNDINGS = 2.2
"""Side of the picture in which the detector scores a face, in sizes of the face."""

PICTURE = 192
"""Pixels; side of that picture. The detector sees 128 pixels."""

CERTAIN, MARGIN = 0.75, 0.1
"""Score of a face that is the right way up, and how far it must be above the score of the way that the landmarks tell.
In 160 frames of real clips, upright faces scored 0.84 or more, and 0.12 or more above the same faces upside down."""

MAX_APART = 60.0
"""Degrees between the roll that landmarks tell and the detector's, from which the landmarks are wrong."""

SAME_IOU = 0.3
"""Overlap of boxes from which a face is the one of the frame before."""

SEARCH_EVERY = 5
"""While no face is found, turned ones are searched for every this many frames."""

KEPT = 10
"""Frames after which a turned search that found nothing ends."""


class Mesh(Protocol):
    """Finds the landmarks of upright faces in frames that come in order."""

    def landmarks(self, frame: np.ndarray) -> list[np.ndarray]:
        """float32 ``[N, 3]`` in pixels for every face found in an RGB frame, uint8 ``[H, W, 3]``."""
        ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class Detector(Protocol):
    """Scores upright faces."""

    def scores(self, picture: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Score in 0..1, and the centre ``[2]`` in 0..1, of each face in an RGB picture, uint8 ``[H, W, 3]``."""
        ...

    def close(self) -> None: ...


@dataclass(eq=False)
class _Seen:
    """A face of a search in the latest frame.

    Attributes:
        face: its landmarks.
        roll: the angle that they tell.
        age: number of frames for which it was seen before.
        right: whether its landmarks are the right way up; None while that is not known.
        lost: they are not, and no other search follows the face.
    """

    face: Face
    roll: float
    age: int = 0
    right: bool | None = None
    lost: bool = False


class _Search:
    """Follows the faces that a mesh finds in frames turned by quarters, and what was decided about each."""

    def __init__(self, mesh: Mesh, quarters: int):
        self.mesh, self.quarters = mesh, quarters
        self.seen: list[_Seen] = []
        self.idle = 0

    def reset(self) -> None:
        self.mesh.reset()
        self.seen, self.idle = [], 0

    def update(self, frame: np.ndarray, mean: np.ndarray) -> list[_Seen]:
        found = self.mesh.landmarks(np.ascontiguousarray(np.rot90(frame, self.quarters)))
        faces = []
        for landmarks in found:
            landmarks = turned_back(landmarks, self.quarters, frame.shape)
            faces.append(Face(box_around(landmarks), 1.0, landmarks))
        before, self.seen = self.seen, []
        for face in plausible_faces(faces, (frame.shape[0], frame.shape[1])):
            seen = _Seen(face, float(rolls(face.landmarks[None], mean)[0]))
            for known in before:
                if iou(face.box, known.face.box) > SAME_IOU and apart(seen.roll, known.roll) < MAX_APART:
                    seen.age, seen.right, seen.lost = known.age + 1, known.right, known.lost
            self.seen.append(seen)
        return self.seen


class AnyWayUp:
    """Finds faces that are upright, lie, or are upside down.

    The mesh for upright faces sees every frame. A detector compares the four ways up of each face that is new; if
    another one scores clearly better than the one that the landmarks tell, the landmarks are dropped, and a mesh that
    sees turned frames follows the face. Where no face is found, the detector looks for turned faces now and then.
    So upright faces cost four runs of the detector when they appear, and nothing later.

    Args:
        mesh: builds a mesh.
        detector: builds a detector.
        mean: ``[N, 3]``, the mean face.
    """

    def __init__(self, mesh: Callable[[], Mesh], detector: Callable[[], Detector], mean: np.ndarray):
        self._mesh, self._build_detector, self._mean = mesh, detector, mean
        self._upright = _Search(mesh(), 0)
        self._turned: dict[int, _Search] = {}
        self._active: set[int] = set()
        self._detector: Detector | None = None
        self._empty = 0

    def faces(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, without order; scores are 1."""
        upright = self._upright.update(frame, self._mean)
        for seen in upright:
            self._judge(frame, seen)
        if all(seen.right is False for seen in upright):
            self._look_around(frame, bool(upright))
        found = [seen.face for seen in upright if seen.right]
        for quarters in sorted(self._active):
            search = self._turned[quarters]
            turned = search.update(frame, self._mean)
            for seen in turned:
                self._judge(frame, seen, often=True)
            new = [seen.face for seen in turned if seen.right and not _known(seen.face, found)]
            search.idle = 0 if new else search.idle + 1
            if search.idle > KEPT:
                self._active.discard(quarters)
                search.reset()
            found += new
        for seen in upright:
            seen.lost = seen.right is False and not _known(seen.face, found)
        # Until it is decided, the landmarks of upright faces count.
        return found + [seen.face for seen in upright if seen.right is None and not _known(seen.face, found)]

    def reset(self) -> None:
        """Forget the previous frames."""
        for search in (self._upright, *(self._turned[quarters] for quarters in self._active)):
            search.reset()
        self._active.clear()
        self._empty = 0

    def close(self) -> None:
        """Free the models."""
        for search in (self._upright, *self._turned.values()):
            search.mesh.close()
        if self._detector is not None:
            self._detector.close()

    def _judge(self, frame: np.ndarray, seen: _Seen, often: bool = False) -> None:
        """Decide whether a face's landmarks are the right way up.

        If it stays open, the next tries are ever rarer. Turned faces and lost ones are judged now and then.
        """
        open_still = seen.right is None and seen.age in (0, 1, 4, 16, 64)
        if not (open_still or ((often or seen.lost) and seen.age % SEARCH_EVERY == 0)):
            return
        scores = self._scores(_around(frame, seen.face.box))
        best = int(np.argmax(scores))
        told = round(seen.roll / 90) % 4
        if apart(seen.roll, 90 * best) <= MAX_APART:
            seen.right = True if scores[best] >= CERTAIN else seen.right or None
        elif scores[best] >= CERTAIN and scores[best] - scores[told] >= MARGIN:
            seen.right = False
            self._activate(best)

    def _look_around(self, frame: np.ndarray, seen: bool) -> None:
        """Look for turned faces in a frame without upright ones."""
        if self._active or seen:
            self._empty = 0
            return
        if self._empty % SEARCH_EVERY == 0:
            scores = self._scores(_shrunk(frame), centred=False)
            best = int(np.argmax(scores))
            if best and scores[best] >= CERTAIN and scores[best] - scores[0] >= MARGIN:
                self._activate(best)
        self._empty += 1

    def _activate(self, quarters: int) -> None:
        if quarters and quarters not in self._active:
            if quarters not in self._turned:
                self._turned[quarters] = _Search(self._mesh(), quarters)
            self._turned[quarters].reset()
            self._active.add(quarters)

    def _scores(self, picture: np.ndarray, centred: bool = True) -> list[float]:
        """Best score of a face, with the picture turned by 0 to 3 quarters."""
        if self._detector is None:
            self._detector = self._build_detector()
        scores = []
        for quarters in range(4):
            faces = self._detector.scores(np.ascontiguousarray(np.rot90(picture, quarters)))
            reach = 0.5 / SURROUNDINGS if centred else 1.0
            scores.append(max((score for score, at in faces if np.abs(at - 0.5).max() <= reach), default=0.0))
        return scores


def turned_back(landmarks: np.ndarray, quarters: int, shape: Sequence[int]) -> np.ndarray:
    """Landmarks ``[N, 3]`` of a frame turned by ``np.rot90(frame, quarters)``, in pixels of the frame of `shape`."""
    height, width = shape[:2]
    x, y, z = landmarks.T
    turned = [(x, y), (width - y, x), (width - x, height - y), (y, height - x)][quarters % 4]
    return np.stack([*turned, z], axis=1)


def _known(face: Face, others: Sequence[Face]) -> bool:
    return any(iou(face.box, other.box) > SAME_IOU for other in others)


def _around(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face in the middle of a square picture; black beyond the frame."""
    import cv2

    side = SURROUNDINGS * float((box[2:] - box[:2]).max())
    scale, middle = PICTURE / side, (box[:2] + box[2:]) / 2
    matrix = np.array([[scale, 0, PICTURE / 2 - scale * middle[0]], [0, scale, PICTURE / 2 - scale * middle[1]]])
    if scale < 0.5:  # without aliases: an area of the frame, shrunk
        low = np.clip(np.floor(middle - side / 2), 0, None).astype(int)
        high = np.ceil(middle + side / 2).astype(int)
        part = frame[low[1] : high[1], low[0] : high[0]]
        if part.size:
            shrink = 2 * scale
            size = max(1, round(part.shape[1] * shrink)), max(1, round(part.shape[0] * shrink))
            frame = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
            ratio = np.array([frame.shape[1] / part.shape[1], frame.shape[0] / part.shape[0]])
            matrix = np.column_stack([np.diag(scale / ratio), matrix[:, 2] + scale * low])
    return cv2.warpAffine(frame, matrix, (PICTURE, PICTURE), flags=cv2.INTER_LINEAR)


def _shrunk(frame: np.ndarray) -> np.ndarray:
    import cv2

    scale = 2 * PICTURE / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
