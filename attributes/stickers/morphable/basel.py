"""Read the files of morphable models as their owners publish them; the format is told by content, not by name.

Basel Face Model 2017 and 2019 (Gerig et al. 2018, "Morphable Face Models - An Open Framework"): HDF5 in the statismo
layout, millimetres, triangles transposed, variances. Basel Face Model 2009 (Paysan et al. 2009): a MATLAB file,
micrometres, triangles counted from 1, standard deviations. ICT-FaceKit (Li et al. 2020): the arrays ``neutral``,
``identity``, ``expression`` and ``faces`` of a converted ``.npz``, centimetres, quads.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from attributes.stickers.morphable.model import MorphableModel
from toolkit.errors import InputError, MissingExtra

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZIP_MAGIC = b"PK\x03\x04"
KINDS = "a Basel Face Model (.h5 of 2017 or 2019, .mat of 2009) or an ICT-FaceKit .npz"

BLENDSHAPE_STD = 0.3
"""Deviation of ICT's expressions: hand-made shapes whose factors run from 0 to 1 and come without statistics."""


@np.errstate(all="ignore")  # numbers that overflow are refused afterwards
def load_morphable_model(path: str | Path) -> MorphableModel:
    """Read a morphable model from a file that the user named.

    Raises:
        InputError: there is no such file, or it is not one of the known formats, truncated or damaged.
        MissingExtra: an ``.h5`` is given and h5py is not installed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(128)
    except OSError as error:
        raise InputError(f"expected {KINDS}, but {path} cannot be read: {error.strerror}; check the path") from error
    if head.startswith(HDF5_MAGIC):
        return _read_hdf5(path)
    if head.startswith(ZIP_MAGIC):
        return _read_npz(path)
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return _read_mat(path)
    if not head:
        found = "an empty file"
    elif head[:1] == b"\x80":
        found = "a pickle, which is never loaded because it can run code"
    else:
        found = f"a file that begins with {head[:8]!r}"
    raise InputError(f"{path}: expected {KINDS}, found {found}; download the model from its owners again")


def _read_hdf5(path: Path) -> MorphableModel:
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra(f"reading {path} needs h5py: pip install 'vlasik-toolkit[bfm]'") from error
    try:
        with h5py.File(path, "r") as file:

            def group(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
                model = file[f"{name}/model"]
                parts = (model[key][()] for key in ("mean", "pcaBasis", "pcaVariance"))
                return tuple(_numbers(part) for part in parts)

            mean, identity, variance = group("shape")
            cells = _numbers(file["shape/representer/cells"][()], np.int64)
            expression = group("expression") if "expression/model" in file else None
            raw = file["metadata/landmarks/json"][()] if "metadata/landmarks/json" in file else b"[]"
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a Basel Face Model, found a truncated or damaged HDF5: {error}") from error
    except KeyError as error:
        raise InputError(
            f"{path}: expected the groups shape/model and shape/representer of a Basel Face Model 2017 or 2019, "
            f"found an HDF5 without them ({error.args[0]}); name the model's .h5 file"
        ) from error
    mean = mean.reshape(-1)
    if expression is None:
        expression = np.zeros_like(mean), np.zeros((mean.size, 0), np.float32), np.zeros(0, np.float32)
    # Both means are parts of one sum: the expression model's is an offset from the shape model's.
    offset = expression[0].reshape(-1)
    if offset.shape != mean.shape:
        raise InputError(f"{path}: expected means of one size, found shape {mean.size} and expression {offset.size}")
    if (variance < 0).any() or (expression[2] < 0).any():
        raise InputError(f"{path}: expected variances of 0 or more in pcaVariance; the file is damaged")
    cells = cells.T if cells.ndim == 2 and cells.shape[0] == 3 else cells
    return _build(
        path,
        "bfm2017",
        mean + offset,
        (identity, np.sqrt(variance.reshape(-1))),
        (expression[1], np.sqrt(expression[2].reshape(-1))),
        cells,
        _landmarks(path, raw),
    )


def _landmarks(path: Path, raw) -> dict[str, np.ndarray]:
    """Named points of ``metadata/landmarks/json``: a list of ``{"id": name, "coordinates": [x, y, z]}``."""
    try:
        # A scalar string, an array of one string or an array of bytes, whichever library wrote the file.
        raw = np.asarray(raw)
        text = raw.tobytes() if raw.dtype.kind in "iu" else raw.reshape(-1)[0]
        points = {item["id"]: np.array(item["coordinates"], np.float32) for item in json.loads(text)}
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path}: expected landmarks with id and coordinates in metadata/landmarks/json") from error
    if any(point.shape != (3,) for point in points.values()):
        raise InputError(f"{path}: expected three coordinates for each landmark in metadata/landmarks/json")
    return points


def _read_mat(path: Path) -> MorphableModel:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    wanted = ("shapeMU", "shapePC", "shapeEV", "tl", "tri", "expMU", "expPC", "expEV")
    try:
        raw = {key: _numbers(value) for key, value in loadmat(path, variable_names=wanted).items() if key in wanted}
    except (MatReadError, OSError, ValueError, TypeError, EOFError, NotImplementedError, zlib.error) as error:
        raise InputError(f"{path}: expected a Basel Face Model 2009, found a damaged MATLAB file: {error}") from error
    cells = raw.get("tl", raw.get("tri"))
    missing = [key for key in wanted[:3] if key not in raw] + (["tl"] if cells is None else [])
    if missing:
        raise InputError(
            f"{path}: expected shapeMU, shapePC, shapeEV and tl of 01_MorphableModel.mat, found no {', '.join(missing)}"
        )
    mean = raw["shapeMU"].reshape(-1)
    expression = np.zeros((mean.size, 0), np.float32), np.zeros(0, np.float32)
    if "expPC" in raw and "expEV" in raw:
        expression = raw["expPC"], np.reshape(raw["expEV"], -1)
        offset = raw.get("expMU", np.zeros_like(mean)).reshape(-1)
        if offset.shape != mean.shape:
            raise InputError(f"{path}: expected {mean.size} numbers in expMU, found {offset.size}")
        mean = mean + offset
    cells = cells.T if cells.shape[0] == 3 else cells
    # MATLAB counts from 1; shapeEV and expEV hold deviations in spite of their name.
    return _build(
        path,
        "bfm2009",
        mean,
        (raw["shapePC"], np.reshape(raw["shapeEV"], -1)),
        expression,
        cells.astype(np.int64) - 1,
        {},
    )


def _read_npz(path: Path) -> MorphableModel:
    wanted = ("neutral", "identity", "expression", "faces")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in wanted if key not in file]
            if missing:
                raise InputError(f"{path}: expected the arrays {', '.join(wanted)}, found no {', '.join(missing)}")
            neutral, identity, expression, faces = (_numbers(file[key]) for key in wanted)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: expected {KINDS}, found a damaged archive or one with pickles: {error}") from error
    if identity.ndim != 3 or expression.ndim != 3 or faces.ndim != 2 or faces.shape[1] not in (3, 4):
        raise InputError(
            f"{path}: expected identity and expression [K, V, 3] and faces [F, 4], "
            f"found {identity.shape}, {expression.shape} and {faces.shape}"
        )
    quads = faces.shape[1] == 4
    triangles = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]]) if quads else faces
    return _build(
        path,
        "ict",
        neutral.reshape(-1),
        (identity.reshape(len(identity), -1).T, np.ones(len(identity))),
        (expression.reshape(len(expression), -1).T, np.full(len(expression), BLENDSHAPE_STD)),
        triangles,
        {},
    )


def _numbers(value, dtype: type = np.float32) -> np.ndarray:
    """An array of the file as numbers.

    Raises:
        ValueError: it holds text or something else; float32 holds every vertex number of these files exactly.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"an array of {array.dtype} in place of numbers")
    return array.astype(dtype)


def _build(
    path: Path,
    name: str,
    mean: np.ndarray,
    identity: tuple[np.ndarray, np.ndarray],
    expression: tuple[np.ndarray, np.ndarray],
    triangles: np.ndarray,
    landmarks: Mapping[str, np.ndarray],
) -> MorphableModel:
    """Turn the axes: every format has y up and z towards the viewer, which is half a turn about x from ours."""
    turn = np.array([1, -1, -1], np.float32)
    try:
        if mean.size % 3:
            raise InputError(f"expected three coordinates for each vertex in the mean, found {mean.size} numbers")
        vertices = mean.astype(np.float32).reshape(-1, 3) * turn
        bases = []
        for basis, std in (identity, expression):
            basis = np.asarray(basis, np.float32)
            if basis.ndim != 2 or basis.shape[0] != mean.size:
                raise InputError(f"expected a basis of {mean.size} rows, found {basis.shape}; the file is damaged")
            bases += [basis * np.tile(turn, len(vertices))[:, None], np.asarray(std, np.float32)]
        points = {key: point * turn for key, point in landmarks.items()}
        triangles = outward(vertices, np.ascontiguousarray(triangles, dtype=np.int32))
        return MorphableModel(name, vertices, *bases, triangles, points)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def outward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Wind the triangles of a consistently wound surface so that normals point away from its middle.

    Distributions of one model differ in this. The middle is taken behind an open face: the centre of the bounding box,
    pushed back to the rear.
    """
    if triangles.ndim != 2 or triangles.shape[1] != 3 or not len(triangles) or triangles.max() >= len(vertices):
        return triangles  # refused by MorphableModel with a sentence
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2]])
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facing = np.einsum("fi,fi->f", np.cross(b - a, c - a), (a + b + c) / 3 - middle)
    return triangles if facing.sum() > 0 else triangles[:, [0, 2, 1]]
