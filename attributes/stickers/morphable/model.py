"""Define a linear model of face shape: a mean, a basis of identities and a basis of expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import InputError


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """A model whose vertices are ``mean + identity_basis (std * identity) + expression_basis (std * expression)``.

    The axes are those of `FaceMesh`: x right in the picture of a frontal face (the person's left), y down, z away from
    the viewer.

    Attributes:
        name: ``bfm2009``, ``bfm2017`` (the releases of 2017 and 2019, whole or cropped) or ``ict``.
        mean: float32 ``[V, 3]`` in the unit of the file.
        identity_basis: float32 ``[V*3, K]``, with x, y, z of a vertex in consecutive rows.
        identity_std: float32 ``[K]``, standard deviation of each component's factor.
        expression_basis: float32 ``[V*3, E]``; E is 0 for models without expressions.
        expression_std: float32 ``[E]``.
        triangles: int32 ``[F, 3]``, wound so that normals ``(b - a) x (c - a)`` point out of the head.
        landmarks: float32 ``[3]`` on the mean by name, as in the file; empty if it has none.
    """

    name: str
    mean: np.ndarray
    identity_basis: np.ndarray
    identity_std: np.ndarray
    expression_basis: np.ndarray
    expression_std: np.ndarray
    triangles: np.ndarray
    landmarks: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        rows = self.mean.size
        if self.mean.ndim != 2 or self.mean.shape[1] != 3 or len(self.mean) < 100:
            raise InputError(f"{self.name}: expected a mean of at least 100 vertices [V, 3], found {self.mean.shape}")
        for what, basis, std in (
            ("identity", self.identity_basis, self.identity_std),
            ("expression", self.expression_basis, self.expression_std),
        ):
            if basis.ndim != 2 or basis.shape[0] != rows or std.shape != (basis.shape[1],):
                raise InputError(
                    f"{self.name}: expected an {what} basis of {rows} rows with one deviation per column, "
                    f"found a basis {basis.shape} and deviations {std.shape}; the file is damaged or of another model"
                )
            if not np.isfinite(basis).all() or not np.isfinite(std).all() or (std < 0).any():
                raise InputError(f"{self.name}: expected finite numbers in the {what} basis; the file is damaged")
        if self.identity_basis.shape[1] == 0:
            raise InputError(f"{self.name}: expected an identity basis, found one without components")
        faces = self.triangles
        if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or faces.min() < 0 or faces.max() >= len(self.mean):
            raise InputError(
                f"{self.name}: expected triangles [F, 3] into {len(self.mean)} vertices, found {faces.shape}"
                + (f" with indices {faces.min()} to {faces.max()}" if faces.size else "")
            )
        if not np.isfinite(self.mean).all() or not np.ptp(self.mean, axis=0).all():
            raise InputError(f"{self.name}: expected a solid mean of finite numbers; the file is damaged")

    def vertices(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Shapes for coefficients in standard deviations.

        Args:
            identity: ``[..., k]`` with k up to K; missing components are 0.
            expression: ``[..., e]`` with e up to E. The leading axes are broadcast, so one identity can have many
                expressions.

        Returns:
            float32 ``[..., V, 3]`` in the model's unit.
        """
        flat = self.mean.reshape(-1)
        for basis, std, factors in (
            (self.identity_basis, self.identity_std, np.asarray(identity, np.float32)),
            (self.expression_basis, self.expression_std, np.asarray(expression, np.float32)),
        ):
            count = factors.shape[-1]
            flat = flat + (factors * std[:count]) @ basis[:, :count].T
        return flat.reshape(*flat.shape[:-1], -1, 3).astype(np.float32, copy=False)
