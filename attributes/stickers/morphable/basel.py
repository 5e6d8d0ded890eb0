"""Read the published files of morphable models, recognising the format by its content.

Basel Face Model 2017 and 2019 (Gerig et al. 2018, "Morphable Face Models - An Open Framework"): HDF5 in the statismo
layout, millimetres, triangles transposed, variances. Basel Face Model 2009 (Paysan et al. 2009): a MATLAB file,
micrometres, triangles counted from 1, standard deviations. ICT-FaceKit (Li et al. 2020): the arrays ``neutral``,
``identity``, ``expression`` and ``faces`` of a converted ``.npz``, centimetres, quads.
"""

from __future__ import annotations

import json
import math
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

LARGEST = 1 << 30
"""Bytes of the largest array that is read; the largest known has 0.13 GB. A damaged file may claim terabytes."""

BLENDSHAPE_STD = 0.3
"""Deviation of ICT's expressions, which are hand-made shapes with factors from 0 to 1 and no statistics."""


@np.errstate(all="ignore")  # overflowing numbers raise an error later
def load_morphable_model(path: str | Path) -> MorphableModel:
    """Read a morphable model from a file.

    Raises:
        InputError: the file does not exist, has an unknown format, or is truncated or damaged.
        MissingExtra: an ``.h5`` file needs h5py, which is not installed.
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
                parts = (read(model[key]) for key in ("mean", "pcaBasis", "pcaVariance"))
                mean, basis, variance = (_numbers(part) for part in parts)
                return mean, basis, variance

            def read(node):
                _check_size(node.nbytes)
                return node[()]

            mean, identity, variance = group("shape")
            cells = _numbers(read(file["shape/representer/cells"]), np.int64)
            expression = group("expression") if "expression/model" in file else None
            raw = read(file["metadata/landmarks/json"]) if "metadata/landmarks/json" in file else b"[]"
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise InputError(f"{path}: expected a Basel Face Model, found a truncated or damaged HDF5: {error}") from error
    except KeyError as error:
        raise InputError(
            f"{path}: expected the groups shape/model and shape/representer of a Basel Face Model 2017 or 2019, "
            f"found an HDF5 without them ({error.args[0]}); name the model's .h5 file"
        ) from error
    mean = mean.reshape(-1)
    if expression is None:
        expression = np.zeros_like(mean), np.zeros((mean.size, 0), np.float32), np.zeros(0, np.float32)
    # The mean of the expression model is an offset from that of the shape model.
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


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"it claims to hold an array of {size / 2**30:.0f} GiB")


def _landmarks(path: Path, raw) -> dict[str, np.ndarray]:
    """Named points of ``metadata/landmarks/json``: a list of ``{"id": name, "coordinates": [x, y, z]}``."""
    try:
        # A scalar string, an array of one string or an array of bytes, depending on the library that wrote the file.
        raw = np.asarray(raw)
        text = raw.tobytes() if raw.dtype.kind in "iu" else raw.reshape(-1)[0]
        points = {item["id"]: np.array(item["coordinates"], np.float32) for item in json.loads(text)}
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path}: expected landmarks with id and coordinates in metadata/landmarks/json") from error
    if any(point.shape != (3,) for point in points.values()):
        raise InputError(f"{path}: expected three coordinates for each landmark in metadata/landmarks/json")
    return points


def _read_mat(path: Path) -> MorphableModel:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    wanted = ("shapeMU", "shapePC", "shapeEV", "tl", "tri", "expMU", "expPC", "expEV")
    try:
        for _, shape, _ in whosmat(path):
            _check_size(8 * math.prod(shape))
        raw = {key: _numbers(value) for key, value in loadmat(path, variable_names=wanted).items() if key in wanted}
    except (
        *(MatReadError, OSError, ValueError, TypeError, EOFError, NotImplementedError, zlib.error),
        *(MemoryError, OverflowError),
    ) as error:
        raise InputError(f"{path}: expected a Basel Face Model 2009, found a damaged MATLAB file: {error}") from error
    cells = raw.get("tl", raw.get("tri"))
    missing = [key for key in wanted[:3] if key not in raw] + (["tl"] if cells is None else [])
    if missing or cells is None:
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
    # MATLAB counts from 1. Despite their names, shapeEV and expEV hold deviations.
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
        with zipfile.ZipFile(path) as archive:
            _check_size(max((member.file_size for member in archive.infolist()), default=0))
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in wanted if key not in file]
            if missing:
                raise InputError(f"{path}: expected the arrays {', '.join(wanted)}, found no {', '.join(missing)}")
            neutral, identity, expression, faces = (_numbers(file[key]) for key in wanted)
    except (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: expected {KINDS}, found a damaged archive or one with pickles: {error}") from error
    if (
        identity.ndim != 3
        or expression.ndim != 3
        or not identity.size * expression.size
        or faces.ndim != 2
        or faces.shape[1] not in (3, 4)
    ):
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
    """Convert an array of the file to numbers. float32 represents every vertex index of these files exactly.

    Raises:
        ValueError: it holds something else, such as text.
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
    """Convert the axes: all formats have y up and z towards the viewer, half a turn about x from ours."""
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
        identity_basis, identity_std, expression_basis, expression_std = bases
        return MorphableModel(
            name, vertices, identity_basis, identity_std, expression_basis, expression_std, triangles, points
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def outward(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Wind the triangles of a consistently wound surface so that its normals point outwards.

    Distributions of the same model differ in this. The reference point is the centre of the bounding box, moved to the
    rear, which is behind an open face.
    """
    if triangles.ndim != 2 or triangles.shape[1] != 3 or not len(triangles) or triangles.max() >= len(vertices):
        return triangles  # MorphableModel raises the error
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    middle = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, high[2]])
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facing = np.einsum("fi,fi->f", np.cross(b - a, c - a), (a + b + c) / 3 - middle)
    return triangles if facing.sum() > 0 else triangles[:, [0, 2, 1]]
