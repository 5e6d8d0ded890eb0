"""Compute the mesh of a face with a morphable model."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from attributes.rendering.mesh import FaceMesh
from attributes.stickers.morphable.correspondence import Correspondence, LandmarkPoints
from attributes.stickers.morphable.fit import Fit, fit
from attributes.stickers.morphable.model import MorphableModel
from attributes.stickers.morphable.neural import CoefficientPredictor
from toolkit.faces.build_topology import unwrap
from toolkit.task import FaceClip


class MorphableMesher:
    """A `Mesher` that fits a morphable model to the landmarks of a clip.

    Args:
        model: a model from `load_morphable_model`.
        predictor: a network that starts and regularises the fit; None to use the landmarks alone.
        noise: standard deviation of a landmark, in distances between the outer eye corners.
    """

    def __init__(self, model: MorphableModel, predictor: CoefficientPredictor | None = None, noise: float = 0.01):
        self.model = model
        self.predictor = predictor
        self.noise = noise
        self._points: dict[str, LandmarkPoints] = {}

    @cached_property
    def correspondence(self) -> Correspondence:
        """Landmarks and face of the model, computed once in about a second."""
        return Correspondence(self.model)

    def fit(self, clip: FaceClip) -> Fit:
        """Coefficients and camera of the frames with the face, in order.

        Raises:
            ValueError: no frame shows the face.
            InputError: the mean of the model is not a face, or the landmarks are of an unknown kind.
        """
        present = clip.present
        if not present.any():
            raise ValueError("expected a clip with the face in at least one frame")
        topology = clip.topology
        if topology.name not in self._points:
            self._points[topology.name] = self.correspondence.landmark_points(topology)
        landmarks = clip.landmarks[present]
        prior = None
        if self.predictor is not None:
            prior = self.predictor.predict(clip.frames[present], landmarks, self.model)
        return fit(
            self.model, self._points[topology.name], landmarks, self.correspondence.eye_distance, self.noise, prior
        )

    def mesh(self, clip: FaceClip) -> FaceMesh:
        """The face of the fitted model in every frame; NaN in frames without the face."""
        face = self.correspondence.face
        vertices = np.full((len(clip), len(face), 3), np.nan, np.float32)
        rest = self.correspondence.rest[face]
        if clip.present.any():
            found = self.fit(clip)
            part = self._face_model
            shapes = part.vertices(found.identity, found.expression)
            turned = shapes @ found.rotation.transpose(0, 2, 1).astype(np.float32)
            placed = found.scale[:, None, None] * turned + found.translation[:, None]
            vertices[clip.present] = placed
            rest = self._rest(part, found)
        return FaceMesh(vertices, self.correspondence.triangles, self._uv, rest, dict(self.correspondence.regions))

    @cached_property
    def _face_model(self) -> MorphableModel:
        face = self.correspondence.face
        rows = (face[:, None] * 3 + np.arange(3)).ravel()
        model = self.model
        return MorphableModel(
            model.name,
            model.mean[face],
            np.ascontiguousarray(model.identity_basis[rows]),
            model.identity_std,
            np.ascontiguousarray(model.expression_basis[rows]),
            model.expression_std,
            self.correspondence.triangles,
        )

    @cached_property
    def _uv(self) -> np.ndarray:
        return unwrap(self.correspondence.rest[self.correspondence.face])

    def _rest(self, part: MorphableModel, found: Fit) -> np.ndarray:
        """The neutral face of the person, in units of the distance between their outer eye corners."""
        shape = part.vertices(found.identity, np.zeros(0, np.float32))
        regions = self.correspondence.regions
        rest = self.correspondence.rest[self.correspondence.face]
        left = regions["left_eye"][rest[regions["left_eye"], 0].argmax()]
        right = regions["right_eye"][rest[regions["right_eye"], 0].argmin()]
        shape = shape - (shape[left] + shape[right]) / 2
        return (shape / np.linalg.norm(shape[left] - shape[right])).astype(np.float32)
