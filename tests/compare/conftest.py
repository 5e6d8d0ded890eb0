"""Fixtures: two short videos of the sample face with a patch on the cheek, their targets, and a tiny remover."""

import numpy as np
import pytest

from toolkit.compare.config import AblateConfig, CompareConfig
from toolkit.testing import tiny_backbone, tiny_remover
from toolkit.testing.sample import sample_frames
from toolkit.video import VideoWriter

SIDE, COUNT = 192, 6
PATCH = np.s_[105:129, 72:93]
"""Rows and columns of the patch: on the cheek in all frames."""


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """Folder of a tiny backbone with a motion adapter; not to be changed."""
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny", text=False, vae="unshuffle", vae_scale_factor=4)


@pytest.fixture(scope="session")
def remover(tmp_path_factory, backbone):
    return tiny_remover(tmp_path_factory.mktemp("remover") / "stickers", backbone)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """``videos`` with two videos, one in a subfolder, and ``targets``; lossless, not to be changed."""
    root = tmp_path_factory.mktemp("clips")
    clean = sample_frames(2 * COUNT, SIDE)
    for number, name in enumerate(("a.mkv", "more/b.mkv")):
        frames = clean[number * COUNT : (number + 1) * COUNT]
        patched = frames.copy()
        patched[:, *PATCH] = (20, 160, 60)
        for folder, pictures in (("targets", frames), ("videos", patched)):
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with VideoWriter(path, fps=25, lossless=True) as writer:
                for picture in pictures:
                    writer.write(picture)
    return root


def _settings(model, folders, backbone, tmp_path, changed):
    values = {
        "videos": folders / "videos",
        "task": "stickers",
        "output": tmp_path / "out",
        "backbone": str(backbone),
        "device": "cpu",
        "denoising": {"num_inference_steps": 2},
        "writing": {"lossless": True},
        "measuring": {"flow": "dis", "identity": False, "clips": False, "workers": 1},
    }
    for name, value in changed.items():
        values[name] = values[name] | value if isinstance(value, dict) and name in values else value
    return model.model_validate(values)


@pytest.fixture
def comparison(folders, backbone, tmp_path):
    """A function that builds the config of a comparison; groups are dicts."""
    return lambda **changed: _settings(CompareConfig, folders, backbone, tmp_path, changed)


@pytest.fixture
def ablation(folders, backbone, remover, tmp_path):
    """The same for an ablation."""
    return lambda **changed: _settings(AblateConfig, folders, backbone, tmp_path, {"remover": [remover]} | changed)
