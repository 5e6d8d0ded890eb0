"""The paper's face analyser: RetinaFace boxes, FaRL parsing and 68 landmarks, from the package facer.

Zheng et al., "General Facial Representation Learning in a Visual-Linguistic Manner" (CVPR 2022). The models are
`retinaface/mobilenet`, `farl/celebm/448` and `farl/ibug300w/448`, as in section C.1 of V-LASIK (arXiv 2406.14510).
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.device import choose_device_name
from toolkit.errors import InputError, MissingExtra
from toolkit.faces.plausible import box_around, check_frame, plausible_faces
from toolkit.faces.topology import load_topology
from toolkit.faces.types import Face
from toolkit.fetch.downloads import DOWNLOADS, FACER_FILES

CELEBM_CLASSES = (
    *("background", "neck", "face", "cloth", "right_ear", "left_ear", "right_brow", "left_brow", "right_eye"),
    *("left_eye", "nose", "inner_mouth", "lower_lip", "upper_lip", "hair", "glasses", "hat", "earring", "necklace"),
)
"""Class names of `Face.parsing`: the 19 classes of CelebAMask-HQ in the order of `farl/celebm/448`."""

MAX_SIDE = 1920
"""Pixels; larger frames are shrunk to this size because facer allocates 68 heat maps as large as the frame."""

MIN_FRAME_SIDE = 16
"""Pixels; smaller frames count as frames without a face."""


def cached_path(key: str) -> Path:
    """Default path of one of `FACER_FILES`, in torch hub's cache."""
    return DOWNLOADS["facer"].folder() / FACER_FILES[key].name


def require_weights(**files: str | Path | None) -> dict[str, Path]:
    """Paths of the three weights files: the named ones, and those in torch hub's cache for the rest. Downloads nothing.

    Raises:
        MissingExtra: facer is not installed, or an unnamed file is missing from the cache.
        InputError: a named file does not exist.
    """
    if any(importlib.util.find_spec(package) is None for package in ("facer", "torch", "torchvision")):
        raise MissingExtra("the facer analyser needs an extra: pip install 'vlasik-toolkit[facer]'")
    paths = {}
    for key, file in FACER_FILES.items():
        named = files.get(key)
        path = Path(named) if named else cached_path(key)
        if not path.is_file():
            if named:
                raise InputError(f"expected facer weights for {key}, but there is no file {path}")
            raise MissingExtra(
                f"the facer analyser expects its weights at {path}; run `toolkit fetch facer`, download {file.url} "
                f"yourself, or name the file with {key}"
            )
        paths[key] = path
    return paths


class FacerAnalyser:
    """Finds faces with facer, in each frame independently.

    `Face.landmarks` are the 68 iBUG points with z = 0. `Face.parsing` covers the whole frame with `CELEBM_CLASSES`,
    background included, as predicted for this face. TorchScript can run code, so it is loaded only from the release's
    file in torch hub's cache or from a path that the user named.

    Args:
        max_faces: most faces per frame; the largest are kept.
        device: a torch device; chosen by `choose_device_name` if None.
        detector_file: RetinaFace's state dict; in torch hub's cache if None.
        parser_file, aligner_file: TorchScript; in torch hub's cache if None.

    Raises:
        MissingExtra: facer or a weights file is missing.
        InputError: a weights file is missing, truncated or of another kind.
        UsageError: the machine has no such device.
    """

    name = "facer"

    def __init__(
        self,
        *,
        max_faces: int = 4,
        device: str | None = None,
        detector_file: str | Path | None = None,
        parser_file: str | Path | None = None,
        aligner_file: str | Path | None = None,
    ):
        paths = require_weights(detector_file=detector_file, parser_file=parser_file, aligner_file=aligner_file)
        import torch

        self.topology = load_topology("ibug68")
        self.max_faces = max_faces
        self._device = torch.device(choose_device_name(device))
        self._detector, self._parser, self._aligner = _load(paths, self._device)

    def analyse(self, frame: np.ndarray) -> list[Face]:
        """Faces of one RGB frame, uint8 ``[H, W, 3]``, the largest first.

        Raises:
            ValueError: the frame is of another shape or type.
        """
        check_frame(frame)
        if min(frame.shape[:2]) < MIN_FRAME_SIDE:
            return []
        import cv2
        import torch

        height, width, _ = frame.shape
        shrink = min(1.0, MAX_SIDE / max(height, width))
        small = frame
        if shrink < 1:
            small = cv2.resize(frame, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        image = torch.tensor(small, device=self._device).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found = self._detector(image)
            if len(found["rects"]) == 0:
                return []
            rects = found["rects"]
            order = torch.argsort(-(rects[:, 2] - rects[:, 0]) * (rects[:, 3] - rects[:, 1]), stable=True)
            # One face at a time, so that the heat maps of only one face are in memory.
            faces = [
                self._face(image, {key: value[k : k + 1] for key, value in found.items()}, (height, width))
                for k in order[: self.max_faces].tolist()
            ]
        return plausible_faces(faces, (height, width))

    def _face(self, image: Any, detection: dict[str, Any], frame_size: tuple[int, int]) -> Face:
        import cv2

        height, width = frame_size
        # facer rejects a uint8 frame without any value above 1.
        logits = self._parser(image.float() / 255, dict(detection))["seg"]["logits"]
        parsing = logits[0].argmax(dim=0).byte().cpu().numpy()
        if parsing.shape != frame_size:
            parsing = cv2.resize(parsing, (width, height), interpolation=cv2.INTER_NEAREST)
        points = self._aligner(image, dict(detection))["alignment"][0].cpu().numpy()
        # facer's origin is the centre of the first pixel, this project's its corner.
        scale = np.array([width / image.shape[3], height / image.shape[2]])
        landmarks = np.zeros((len(points), 3), np.float32)
        landmarks[:, :2] = (points + 0.5) * scale
        return Face(box_around(landmarks), float(detection["scores"][0]), landmarks, parsing)

    def reset(self) -> None:
        """Does nothing: frames are analysed independently."""

    def close(self) -> None:
        """Free the models."""
        self._detector = self._parser = self._aligner = None


def _load(paths: dict[str, Path], device: Any) -> list[Any]:
    """facer's detector, parser and aligner.

    Raises:
        InputError: a file is truncated or of another kind.
    """
    for key in ("parser_file", "aligner_file"):
        _check_torchscript(paths[key])
    if "jit" not in str(paths["aligner_file"]):
        raise InputError(
            f"facer recognises its TorchScript aligner by 'jit' in the file name, but the file is "
            f"{paths['aligner_file']}; rename it"
        )
    _check_state_dict(paths["detector_file"])
    import facer
    import torch

    benchmark = torch.backends.cudnn.benchmark
    builders = {
        "detector_file": lambda file: facer.face_detector("retinaface/mobilenet", device, model_path=file),
        "parser_file": lambda file: facer.face_parser("farl/celebm/448", device, model_path=file),
        "aligner_file": lambda file: facer.face_aligner("farl/ibug300w/448", device, model_path=file),
    }
    models = []
    for key, build in builders.items():
        try:
            models.append(build(str(paths[key])).eval())
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(f"facer cannot use {paths[key]} as {key}: {str(error).partition(chr(10))[0]}") from error
    # facer's detector turns this on for the whole process, which would make results differ between runs.
    torch.backends.cudnn.benchmark = benchmark
    return models


def _check_torchscript(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"expected a TorchScript file of facer, but {path} is truncated or of another kind") from error
    if not any(name.endswith("/constants.pkl") for name in names):
        raise InputError(f"expected a TorchScript file of facer, but {path} is another kind of torch file")


def _check_state_dict(path: Path) -> None:
    """Refuse a detector file that lacks tensors, which facer would accept, or that holds more than tensors."""
    import pickle

    import torch
    from facer.face_detection.retinaface import RetinaFace, cfg_mnet

    wanted = "expected the state dict of facer's retinaface/mobilenet"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise InputError(
            f"{wanted}, but {path} is truncated or holds more than tensors; run `toolkit fetch facer`"
        ) from error
    if not isinstance(state, dict):
        raise InputError(f"{wanted}, but {path} holds a {type(state).__name__}")
    names = {key.removeprefix("module.") for key in state.get("state_dict", state)}
    needed = {key for key in RetinaFace(cfg_mnet, phase="test").state_dict() if "num_batches_tracked" not in key}
    if needed - names:
        raise InputError(f"{wanted}, but {path} lacks {len(needed - names)} of its {len(needed)} tensors")
