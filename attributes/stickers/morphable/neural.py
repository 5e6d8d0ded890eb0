"""Predict pose and coefficients of a morphable model from pictures with a network."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from attributes.stickers.morphable.fit import Prior
from attributes.stickers.morphable.model import MorphableModel
from toolkit.errors import InputError, MissingExtra

CROP = 120
POSE, SHAPE, EXPRESSION = 12, 40, 10
FLIP = np.array([1.0, -1.0, -1.0])


class CoefficientPredictor(Protocol):
    """Predicts the start of a fit from pictures."""

    def predict(self, frames: np.ndarray, landmarks: np.ndarray, model: MorphableModel) -> Prior:
        """Predict the pose of every frame, and coefficients in standard deviations if they fit the model's basis.

        Args:
            frames: uint8 ``[T, H, W, 3]``, RGB.
            landmarks: float32 ``[T, N, 3]`` in pixels, finite; they define the crop.
            model: the model to fit.
        """
        ...


@dataclass(frozen=True, eq=False)
class TddfaPose:
    """Output of the network for T crops, in the axes of `FaceMesh` and pixels of the frames.

    A vertex X of Basel Face Model 2009, in micrometres and our axes, maps to ``scale * X @ rotation.T + translation``.

    Attributes:
        rotation: float64 ``[T, 3, 3]``.
        scale: float64 ``[T]``, pixels per micrometre.
        translation: float64 ``[T, 3]``.
        shape: float64 ``[T, 40]``, factors of the first shape components, in the unit of the file.
        expression: float64 ``[T, 10]``, factors of the first FaceWarehouse expressions.
    """

    rotation: np.ndarray
    scale: np.ndarray
    translation: np.ndarray
    shape: np.ndarray
    expression: np.ndarray


class TddfaPredictor:
    """The 62-parameter MobileNet of 3DDFA (Guo et al. 2020, "Towards Fast, Accurate and Stable 3D Dense Face
    Alignment").

    Args:
        weights: ``.pth`` with a state dict, read with ``weights_only=True``, or ``.safetensors``.
        stats: ``.npz`` with ``mean`` and ``std``, float ``[62]``, of the whitened parameters.
    """

    def __init__(self, weights: str | Path, stats: str | Path):
        self.weights = Path(weights)
        self.mean, self.std = _read_stats(Path(stats))

    @cached_property
    def _network(self):
        return _load_network(self.weights)

    def pose(self, frames: np.ndarray, landmarks: np.ndarray) -> TddfaPose:
        """Run the network on the frames.

        The crop is a square around the landmarks, whose side is their longer extent times the square root of 2, scaled
        to 120 pixels. Parts outside the frame are black. The network's y points up, and its pixels start at 1.

        Raises:
            InputError: the weights are a pickle, damaged, or of another network.
            MissingExtra: torch is not installed.
        """
        import cv2

        network = self._network
        import torch

        low, high = landmarks[..., :2].min(axis=1), landmarks[..., :2].max(axis=1)
        middle = (low + high) / 2
        side = (high - low).max(axis=1) * np.sqrt(2)
        corner = middle - side[:, None] / 2
        crops = []
        for frame, (x, y), size in zip(frames, corner, side):
            zoom = CROP / size
            # Pixel centres are at 0.5, so that resampling does not shift the picture.
            matrix = np.array([[zoom, 0, 0.5 * zoom - 0.5 - x * zoom], [0, zoom, 0.5 * zoom - 0.5 - y * zoom]])
            crops.append(
                cv2.warpAffine(frame, matrix, (CROP, CROP), flags=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
            )
        # The network was trained on pictures in OpenCV's order of channels.
        batch = torch.from_numpy(np.stack(crops)[..., ::-1].copy()).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            chunks = [network((part - 127.5) / 128).double().numpy() for part in batch.split(64)]
        values = np.concatenate(chunks) * self.std + self.mean
        camera = values[:, :POSE].reshape(-1, 3, 4)
        first, second = camera[:, 0, :3], camera[:, 1, :3]
        scale = (np.linalg.norm(first, axis=1) + np.linalg.norm(second, axis=1)) / 2
        # The two rows are only nearly orthogonal and of equal length; this is the nearest exact pair.
        u, _, vt = np.linalg.svd(camera[:, :2, :3], full_matrices=False)
        rows = u @ vt
        rotation = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1)
        offset = camera[:, :, 3]
        zoom = side / CROP
        translation = np.stack(
            [
                (offset[:, 0] - 1) * zoom + corner[:, 0],
                (CROP - offset[:, 1]) * zoom + corner[:, 1],
                -(offset[:, 2] - 1) * zoom,
            ],
            axis=1,
        )
        return TddfaPose(
            rotation=FLIP[:, None] * rotation * FLIP,
            scale=scale * zoom,
            translation=translation,
            shape=values[:, POSE : POSE + SHAPE],
            expression=values[:, POSE + SHAPE :],
        )

    def predict(self, frames: np.ndarray, landmarks: np.ndarray, model: MorphableModel) -> Prior:
        """The pose, and for Basel Face Model 2009 also the shape: the mean over the frames divided by the deviations.

        The expressions belong to FaceWarehouse and have a scale that no distribution of the model shares, so they are
        estimated from the landmarks.
        """
        found = self.pose(frames, landmarks)
        identity = None
        if model.name == "bfm2009":
            count = min(SHAPE, len(model.identity_std))
            identity = found.shape[:, :count].mean(axis=0) / np.maximum(model.identity_std[:count], 1e-12)
        return Prior(found.rotation, identity)


def _read_stats(path: Path) -> tuple[np.ndarray, np.ndarray]:
    size = POSE + SHAPE + EXPRESSION
    try:
        with np.load(path, allow_pickle=False) as file:
            mean, std = (np.asarray(file[key], np.float64) for key in ("mean", "std"))
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected an .npz with mean and std of {size} parameters: {error}") from error
    if mean.shape != (size,) or std.shape != (size,) or not np.isfinite([mean, std]).all():
        raise InputError(f"{path}: expected mean and std of {size} finite numbers, found {mean.shape} and {std.shape}")
    return mean, std


def _load_network(path: Path):
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("3DDFA weights need torch: pip install 'vlasik-toolkit[bfm]'") from error
    from attributes.stickers.morphable.mobilenet import MobileNet

    state = _read_state(path)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    first, last = state.get("conv1.weight"), state.get("fc_param.weight")
    if first is None or last is None or first.ndim != 4 or last.ndim != 2:
        raise InputError(
            f"{path}: expected the state dict of a 3DDFA MobileNet with conv1 and fc_param, "
            f"found {', '.join(map(str, list(state)[:4])) or 'nothing'}"
        )
    size = POSE + SHAPE + EXPRESSION
    if len(last) != size:
        raise InputError(
            f"{path}: expected {size} parameters from fc_param, found {len(last)}; use the 62-parameter network"
        )
    network = MobileNet(width=first.shape[0], parameters=size)
    # Some releases have a second head for landmarks, which is not needed.
    state = {key: value for key, value in state.items() if not key.startswith("fc_lm.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected the state dict of a 3DDFA MobileNet: {detail}") from error
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise InputError(f"{path}: expected finite weights; the file is damaged")
    return network.eval()


def _read_state(path: Path) -> dict:
    import torch

    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise InputError(
            f"expected 3DDFA weights, but {path} cannot be read: {error.strerror}; check the path"
        ) from error
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found = load_file(path)
        elif head.startswith((b"PK", b"\x80")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles that torch then refuses
                found = torch.load(path, map_location="cpu", weights_only=True)
        else:
            what = f"a file that begins with {head!r}" if head else "an empty file"
            raise InputError(f"{path}: expected weights of a 3DDFA MobileNet (.pth or .safetensors), found {what}")
    except InputError:
        raise
    except ImportError as error:
        raise MissingExtra("reading .safetensors needs safetensors: pip install 'vlasik-toolkit[train]'") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: expected weights alone, found a pickle of other objects or a damaged one, "
            "which is not loaded because a pickle can run code"
        ) from error
    except Exception as error:  # safetensors and torch raise various errors for damaged files
        detail = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: expected weights of a 3DDFA MobileNet, found a damaged file: {detail}") from error
    if isinstance(found, dict):
        found = found.get("state_dict", found)
    if not isinstance(found, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in found.items()
    ):
        raise InputError(f"{path}: expected a state dict of tensors, found {type(found).__name__}")
    return found
