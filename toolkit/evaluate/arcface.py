"""Computes ArcFace embeddings with onnxruntime, from a model that the user provides."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.errors import InputError, MissingExtra
from toolkit.fetch.downloads import insightface_models

SIDE = 112
"""px; side of the pictures that ArcFace models take."""

BATCH = 32
"""Pictures at a time, if the model allows any number."""

KNOWN = ("w600k_r50.onnx", "glintr100.onnx", "w600k_mbf.onnx")
"""Recognition models in insightface's packs, in the order of preference."""


def find_arcface(path: Path | None = None) -> Path | None:
    """Find an ArcFace model.

    Args:
        path: the model to use; if None, the first of `KNOWN` in the insightface cache.

    Returns:
        None if the cache holds no such model.

    Raises:
        InputError: `path` does not exist.
    """
    if path is not None:
        if not path.is_file():
            raise InputError(f"expected an ArcFace model (.onnx) at {path}, found nothing; check the path")
        return path
    root = insightface_models()
    for name in KNOWN:
        found = sorted(root.glob(f"*/{name}"))
        if found:
            return found[0]
    return None


class ArcFace:
    """Embeds aligned faces.

    Args:
        path: model with one input ``[N, 3, 112, 112]``, RGB, ``(x - 127.5) / 127.5``, and one embedding per picture.
        threads: CPU threads for onnxruntime.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: the file is damaged or holds another kind of model.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtra(
                "identity needs onnxruntime: run pip install 'vlasik-toolkit[identity]', or pass --no-identity"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a different exception for each kind of damage
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(f"{path} cannot be read as an ONNX model: {lines[0]}") from None
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if list(shape[1:]) != [3, SIDE, SIDE] or inputs[0].type != "tensor(float)":
            found = f"{len(inputs)} inputs" if len(inputs) != 1 else f"{inputs[0].type} {shape}"
            raise InputError(
                f"{path} is not an ArcFace model: expected one input tensor(float) [N, 3, 112, 112], found {found}"
            )
        self._input = inputs[0].name
        self._fixed = isinstance(shape[0], int)
        self._batch = shape[0] if self._fixed else BATCH

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embed faces as unit vectors, float64 ``[N, D]``.

        Args:
            crops: uint8 ``[N, 112, 112, 3]``, RGB, aligned by `toolkit.evaluate.identity.align`.
        """
        values = ((crops.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
        found = []
        for start in range(0, len(values), self._batch):
            part = values[start : start + self._batch]
            missing = self._batch - len(part) if self._fixed else 0  # a fixed batch must be full
            if missing:
                part = np.concatenate([part, np.zeros((missing, *part.shape[1:]), np.float32)])
            embeddings = self._session.run(None, {self._input: np.ascontiguousarray(part)})[0]
            found.append(embeddings[: len(part) - missing])
        embeddings = np.concatenate(found).reshape(len(values), -1).astype(np.float64)
        return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
