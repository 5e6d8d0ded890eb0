"""Fit a morphable model to landmarks, with one identity for the clip and an expression and pose for every frame.

Gauss-Newton on the joint least-squares problem of Blanz and Vetter (1999, "A Morphable Model for the Synthesis of 3D
Faces", section 4), with landmarks instead of pixels and a scaled orthographic camera. Only the identity couples
frames, so the expression and pose of each frame are eliminated separately (Schur complement).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attributes.stickers.morphable.correspondence import LandmarkPoints
from attributes.stickers.morphable.model import MorphableModel

ITERATIONS = 10
CLOSE_ENOUGH = 1e-3
"""Step at which the fit ends, in standard deviations, radians and the logarithm of the scale."""
DEPTH_WEIGHT = 0.25
"""Weight of an analyser's z relative to x and y, because z is a guess."""
CONTOUR_WEIGHT = 0.2
"""Weight of the outline on the near side, where landmarks slide along the skin. The far side has weight 0."""
IDENTITY_COMPONENTS, EXPRESSION_COMPONENTS = 60, 40
"""Largest number of principal directions to solve for, among those that move landmarks."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of `fit` over T frames; vertices in pixels are ``scale * X @ rotation.T + translation``.

    Attributes:
        identity: float32 ``[K]`` in standard deviations.
        expression: float32 ``[T, E]`` in standard deviations.
        rotation: float64 ``[T, 3, 3]``.
        scale: float64 ``[T]``, pixels per unit of the model.
        translation: float64 ``[T, 3]`` in pixels.
        error: float64 ``[T]``, root mean square distance of the landmarks in x and y in pixels, without the outline.
    """

    identity: np.ndarray
    expression: np.ndarray
    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Prior:
    """Start of the fit, and centre of its regularisation. Coefficients are in standard deviations.

    Attributes:
        rotation: ``[T, 3, 3]``, initial rotations.
        identity: ``[k]``, or None for the mean face.
        expression: ``[T, e]``, or None for the neutral expression.
    """

    rotation: np.ndarray
    identity: np.ndarray | None = None
    expression: np.ndarray | None = None


class _Basis:
    """Principal directions of a basis at the landmarks: ``coefficients = start + directions @ factors``.

    The prior is a unit normal distribution, which rotations of the coefficients do not change. Directions that move no
    landmark stay at the mean of the prior.
    """

    def __init__(self, rows: np.ndarray, limit: int):
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        count = min(limit, int((values > 1e-5 * max(values.max(initial=0.0), 1e-30)).sum()))
        self.directions = directions[:count].T
        self.rows = rows @ self.directions


def fit(
    model: MorphableModel,
    points: LandmarkPoints,
    landmarks: np.ndarray,
    eye_distance: float,
    noise: float = 0.01,
    prior: Prior | None = None,
) -> Fit:
    """Estimate coefficients and camera of every frame.

    Args:
        model: the morphable model.
        points: positions of the landmarks on the model.
        landmarks: ``[T, N, 3]`` in pixels, finite; z is ignored if it is zero everywhere.
        eye_distance: distance between the outer eye corners of the model's mean, in its unit.
        noise: standard deviation of a landmark, in distances between the outer eye corners. More noise keeps the shape
            closer to the mean.
        prior: start of the fit; if None, estimated from the landmarks.
    """
    target = np.asarray(landmarks, np.float64)[:, points.index]
    frames, count = target.shape[:2]
    depth = DEPTH_WEIGHT if np.ptp(target[..., 2]) > 0 else 0.0
    axis = np.array([1.0, 1.0, depth**2])
    mean = points.gather(model.mean)
    seen_identity = points.gather(by_vertex(model.identity_basis)) * model.identity_std
    seen_expression = points.gather(by_vertex(model.expression_basis)) * model.expression_std
    identity = _Basis(seen_identity.reshape(count * 3, -1), IDENTITY_COMPONENTS)
    expression = _Basis(seen_expression.reshape(count * 3, -1), EXPRESSION_COMPONENTS)
    start_identity = np.zeros(model.identity_std.shape)
    start_expression = np.zeros((frames, *model.expression_std.shape))
    if prior is not None and prior.identity is not None:
        start_identity[: len(prior.identity)] = prior.identity
    if prior is not None and prior.expression is not None:
        start_expression[:, : prior.expression.shape[1]] = prior.expression
    offsets = np.einsum("mce,te->tmc", seen_expression, start_expression)
    base = mean + seen_identity @ start_identity + offsets

    rotation = _affine_rotation(base.mean(axis=0), target) if prior is None else np.array(prior.rotation, np.float64)
    scale, translation = _scale_and_shift(base, target, rotation)
    k, e = identity.rows.shape[1], expression.rows.shape[1]
    shared, local = np.zeros(k), np.zeros((frames, e))
    rows = np.concatenate([identity.rows, expression.rows], axis=1)
    sides = np.array([0, -1, 1])
    member = points.side == sides[:, None]
    robust = np.ones(count)
    for iteration in range(ITERATIONS):
        shape = base + ((identity.rows @ shared) + local @ expression.rows.T).reshape(frames, count, 3)
        turned = scale[:, None, None] * (shape @ rotation.transpose(0, 2, 1))
        residual = target - turned - translation[:, None]
        # The near outline has a small weight. The far one, which slides over the cheek, has none.
        looks_right = -rotation[:, 0, 2]
        outline = CONTOUR_WEIGHT * np.clip(1 - sides[1:] * looks_right[:, None] / 0.35, 0, 1)
        group = np.concatenate([np.ones((frames, 1)), outline], axis=1)
        unit = noise * eye_distance * scale
        if iteration >= 2:
            robust = _huber(residual / unit[:, None, None], group @ member)
        weight = (group @ member) * robust / unit[:, None] ** 2

        camera = _camera_jacobian(turned)
        weighted = camera * (weight[:, :, None, None] * axis[:, None])
        pose = weighted.reshape(frames, -1, 7).transpose(0, 2, 1) @ camera.reshape(frames, -1, 7)
        if not depth:
            pose[:, 6, 6] += 1.0  # the distance is not observable
        stacked = np.concatenate([weighted, (residual * weight[..., None] * axis)[..., None]], axis=-1)
        turned_back = scale[:, None, None, None] * (rotation.transpose(0, 2, 1)[:, None] @ stacked)
        cross = np.tensordot(turned_back.reshape(frames, -1, 8), rows, axes=(1, 0))
        own = np.einsum("tmai,tma->ti", weighted, residual)
        shapes = _shape_blocks(rows, member * robust, rotation, axis, group) / (noise * eye_distance) ** 2

        size = 7 + e
        system = np.zeros((frames, size, size + k + 1))
        system[:, :7, :7] = pose
        system[:, :7, 7:size] = cross[:, :7, k:]
        system[:, 7:size, :7] = cross[:, :7, k:].transpose(0, 2, 1)
        system[:, 7:size, 7:size] = shapes[:, k:, k:] + np.eye(e)
        system[:, :7, size:-1] = cross[:, :7, :k]
        system[:, 7:size, size:-1] = shapes[:, k:, :k]
        system[:, :7, -1] = own
        system[:, 7:size, -1] = cross[:, 7, k:] - local
        solved = np.linalg.solve(system[:, :, :size], system[:, :, size:])
        coupling = system[:, :, size:-1]
        reduced = np.tensordot(coupling, solved, axes=([0, 1], [0, 1]))
        normal = shapes[:, :k, :k].sum(axis=0) + np.eye(k) - reduced[:, :k]
        step = np.linalg.solve(normal, cross[:, 7, :k].sum(axis=0) - shared - reduced[:, k])
        steps: np.ndarray = solved[:, :, k] - solved[:, :, :k] @ step

        shared = shared + step
        local = local + steps[:, 7:]
        rotation = _turn(steps[:, :3]) @ rotation
        # A long step in scale indicates a bad start, not a good direction.
        scale = scale * np.exp(np.clip(steps[:, 3], -0.5, 0.5))
        translation = translation + steps[:, 4:7]
        longest = max(np.abs(step).max(initial=0), np.abs(steps[:, 7:]).max(initial=0), np.abs(steps[:, :4]).max())
        if iteration > 2 and longest < CLOSE_ENOUGH:
            break

    shape = base + ((identity.rows @ shared) + local @ expression.rows.T).reshape(frames, count, 3)
    residual = target - scale[:, None, None] * (shape @ rotation.transpose(0, 2, 1)) - translation[:, None]
    return Fit(
        identity=(start_identity + identity.directions @ shared).astype(np.float32),
        expression=(start_expression + local @ expression.directions.T).astype(np.float32),
        rotation=rotation,
        scale=scale,
        translation=translation,
        error=np.sqrt((residual[:, points.side == 0, :2] ** 2).sum(axis=-1).mean(axis=1)),
    )


def by_vertex(basis: np.ndarray) -> np.ndarray:
    """Reshape a basis ``[V*3, K]`` to ``[V, 3, K]``."""
    return basis.reshape(len(basis) // 3, 3, basis.shape[1])  # -1 is undefined for a model without expressions


def _affine_rotation(shape: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Rotations ``[T, 3, 3]`` closest to the affine cameras that map ``[M, 3]`` to the x and y of ``[T, M, 3]``."""
    centred = shape - shape.mean(axis=0)
    flat = target[..., :2] - target[..., :2].mean(axis=1, keepdims=True)
    camera = np.einsum("im,tma->tai", np.linalg.pinv(centred), flat)
    u, _, vt = np.linalg.svd(camera, full_matrices=False)
    first = u @ vt
    return np.concatenate([first, np.cross(first[:, 0], first[:, 1])[:, None]], axis=1)


def _scale_and_shift(base, target, rotation):
    turned = base @ rotation.transpose(0, 2, 1)
    middle, centre = turned.mean(axis=1, keepdims=True), target.mean(axis=1, keepdims=True)
    a, b = (turned - middle)[..., :2], (target - centre)[..., :2]
    scale = np.maximum((a * b).sum(axis=(1, 2)), 1e-9) / (a * a).sum(axis=(1, 2))
    return scale, centre[:, 0] - scale[:, None] * middle[:, 0]


def _huber(residual: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weight of each landmark by its distance over all frames, in units of the noise. Outliers lose weight."""
    distance = np.sqrt((residual[..., :2] ** 2).sum(axis=-1).mean(axis=0))
    bound = max(2.0, 2.0 * float(np.median(distance[weight.max(axis=0) > 0.5])))
    return np.minimum(1.0, bound / np.maximum(distance, 1e-9))


def _camera_jacobian(turned: np.ndarray) -> np.ndarray:
    """Derivative ``[T, M, 3, 7]`` of rotated, scaled points by rotation vector, logarithm of scale, and translation."""
    jacobian = np.zeros((*turned.shape, 7))
    x, y, z = np.moveaxis(turned, -1, 0)
    jacobian[..., 0, 1], jacobian[..., 0, 2] = z, -y
    jacobian[..., 1, 0], jacobian[..., 1, 2] = -z, x
    jacobian[..., 2, 0], jacobian[..., 2, 1] = y, -x
    jacobian[..., 3] = turned
    jacobian[..., 4:] = np.eye(3)
    return jacobian


def _shape_blocks(rows, member, rotation, axis, group) -> np.ndarray:
    """``B^T R^T W R B`` of every frame, ``[T, D, D]``, computed from products shared by all frames.

    W is the same for all points of a group, so frames differ only in the 3x3 matrices ``R^T W R``.
    """
    by_axis = rows.reshape(-1, 3, rows.shape[1])
    metric = np.einsum("tci,c,tcj->tij", rotation, axis, rotation)
    products, factors = [], []
    for number, chosen in enumerate(member):
        points = np.flatnonzero(chosen)
        if not len(points):
            continue
        part = by_axis[points]
        for a in range(3):
            for b in range(a, 3):
                product = part[:, a].T @ (chosen[points, None] * part[:, b])
                products.append(product if a == b else product + product.T)
                factors.append(group[:, number] * metric[:, a, b])
    return np.tensordot(np.array(factors).T, np.array(products), axes=1)


def _turn(vectors: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vectors).as_matrix()
