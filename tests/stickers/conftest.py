"""A synthetic morphable model whose right answers are known, and writers of the real files' formats."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from toolkit.faces.topology import load_topology

EYE_DISTANCE = 90.0
FLIP = np.array([1.0, -1.0, -1.0])
NAMED = {
    "center.nose.tip": 1,
    "right.eye.corner_outer": 33,
    "right.eye.corner_inner": 133,
    "left.eye.corner_inner": 362,
    "left.eye.corner_outer": 263,
    "right.lips.corner": 61,
    "left.lips.corner": 291,
}


def smooth_fields(points, count, seed, width):
    """Orthonormal smooth displacements ``[V*3, count]``: sums of Gaussian bumps, without rigid motion and scaling."""
    rng = np.random.default_rng(seed)
    centres = points[rng.integers(len(points), size=(count, 4))]
    pushes = rng.normal(size=(count, 4, 3))
    bumps = np.exp(-((points[None, None] - centres[:, :, None]) ** 2).sum(-1) / (2 * width**2))
    fields = np.einsum("kbv,kbi->vik", bumps, pushes).reshape(-1, count)
    centred = points - points.mean(axis=0)
    rigid = [np.tile(axis, len(points)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)] + [centred.ravel()]
    rigid, _ = np.linalg.qr(np.array(rigid).T)
    fields -= rigid @ (rigid.T @ fields)
    return np.linalg.qr(fields)[0]


@pytest.fixture(scope="session")
def synthetic():
    """Another person than the reference face, in millimetres, y up and z towards the viewer, as in Basel files.

    ``known``: the landmarks' own vertices, which are first among the vertices.
    """
    from trimesh.remesh import subdivide

    topology = load_topology("mediapipe478")
    used = np.unique(topology.triangles)
    assert (used == np.arange(468)).all()
    points = topology.mean[:468].astype(np.float64)
    points = points * [1.04, 0.97, 1.0] + 0.015 * np.sin(2 * points[:, [1, 2, 0]])
    vertices, triangles = subdivide(points, topology.triangles)
    vertices = vertices * EYE_DISTANCE * FLIP + [3.0, -20.0, 40.0]
    size = np.sqrt(len(vertices))
    return SimpleNamespace(
        mean=vertices,
        triangles=triangles,
        identity=smooth_fields(vertices, 8, 1, 45.0),
        identity_std=size * np.linspace(2.5, 1.0, 8),
        expression=smooth_fields(vertices, 4, 2, 18.0),
        expression_std=size * np.linspace(1.5, 0.8, 4),
        landmarks={name: vertices[index] for name, index in NAMED.items()},
        known=np.arange(468),
        # A half turn about x is no reflection: the winding of the triangles stays.
        ours=vertices * FLIP,
    )


@pytest.fixture(scope="session")
def write_h5(tmp_path_factory):
    """Write Basel Face Model 2017's layout; ``drop`` leaves a dataset out, ``change`` replaces some."""
    h5py = pytest.importorskip("h5py")

    def write(model, drop=(), change=None, offset=0.25):
        path = tmp_path_factory.mktemp("bfm2017") / "model2017-1_face12_nomouth.h5"
        points = [{"id": key, "coordinates": value.tolist()} for key, value in model.landmarks.items()]
        data = {
            "shape/model/mean": (model.mean.ravel() - offset).astype(np.float32),
            "shape/model/pcaBasis": model.identity.astype(np.float32),
            "shape/model/pcaVariance": (model.identity_std**2).astype(np.float32),
            "shape/representer/points": model.mean.T.astype(np.float32),
            "shape/representer/cells": model.triangles.T.astype(np.int32),
            "expression/model/mean": np.full(model.mean.size, offset, np.float32),
            "expression/model/pcaBasis": model.expression.astype(np.float32),
            "expression/model/pcaVariance": (model.expression_std**2).astype(np.float32),
        } | (change or {})
        with h5py.File(path, "w") as file:
            for key, value in data.items():
                if not key.startswith(tuple(drop) or ("?",)):
                    file[key] = value
            text = h5py.string_dtype()
            if "metadata" not in drop:
                file.create_dataset("metadata/landmarks/json", data=[json.dumps(points)], dtype=text)
        return path

    return write


@pytest.fixture(scope="session")
def write_mat(tmp_path_factory):
    """Write Basel Face Model 2009's layout: micrometres, triangles from 1, expressions where asked for."""
    from scipy.io import savemat

    def write(model, expressions=False, **change):
        path = tmp_path_factory.mktemp("bfm2009") / "01_MorphableModel.mat"
        data = {
            "texMU": np.zeros((model.mean.size, 1), np.float32),
            "shapeMU": (model.mean.reshape(-1, 1) * 1000).astype(np.float32),
            "shapePC": model.identity.astype(np.float32),
            "shapeEV": (model.identity_std[:, None] * 1000).astype(np.float32),
            "tl": (model.triangles[:, [0, 2, 1]] + 1).astype(np.float64),
        }
        if expressions:
            data |= {"expPC": model.expression.astype(np.float32), "expEV": model.expression_std[:, None] * 1000}
        data = {key: value for key, value in (data | change).items() if value is not None}
        savemat(path, data)
        return path

    return write


@pytest.fixture(scope="session")
def posed():
    """Poses of a turning head: rotations ``[T, 3, 3]``, scales and translations ``[T, 3]`` px, for a model in mm."""

    def make(frames, seed=0):
        rng = np.random.default_rng(seed)
        angles = np.stack([np.linspace(-35, 35, frames), rng.uniform(-15, 15, frames), rng.uniform(-12, 12, frames)], 1)
        rotation = Rotation.from_euler("YXZ", angles, degrees=True).as_matrix()
        translation = np.stack([rng.uniform(200, 300, frames), rng.uniform(200, 300, frames), np.zeros(frames)], 1)
        return rotation, rng.uniform(1.5, 2.2, frames), translation

    return make
