"""A remover with a tiny but real ControlNet, and records for writing others."""

import io
import shutil
from pathlib import Path

import pytest

from toolkit.backbones import describe, identity
from toolkit.remover import DatasetUse, RemoverRecord, write_remover
from toolkit.remover.layout import CURVE, GRID
from toolkit.testing import tiny_backbone


def picture(colour, kind):
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(data, kind)
    return data.getvalue()


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """Folder of a tiny backbone. Tests must not change it."""
    return tiny_backbone(tmp_path_factory.mktemp("backbone") / "tiny", text=False, vae="tiny")


@pytest.fixture(scope="session")
def controlnet(backbone):
    from diffusers import ControlNetModel

    return ControlNetModel.from_pretrained(backbone / "controlnet_tile")


@pytest.fixture(scope="session")
def record(backbone):
    """A record without files."""
    spec = describe(backbone)
    return RemoverRecord(
        tasks=["glasses", "stickers"],
        prompts={"glasses": "a face without glasses", "stickers": "a face, bare | naïve"},
        backbone=identity(spec),
        resolution=64,
        prediction_type="epsilon",
        step=750,
        held_out={"removal": 0.81234, "artefact": 0.1, "sharpness": None},
        stopped="early stopping: for 5 validations nothing was gained",
        datasets=[
            DatasetUse(name="g", task="glasses", sha256="0" * 64, pairs=900, clips=30, perfect=False),
            DatasetUse(name="s|t", task="stickers", sha256="1" * 64, pairs=800, clips=20, perfect=True),
        ],
        config={"seed": 3, "init": "tile", "optimisation": {"learning_rate": 1e-5, "train_batch_size": 8}},
        versions={"vlasik-toolkit": "0.1.0"},
        licence="",
    )


@pytest.fixture(scope="session")
def pictures():
    return {GRID: picture("red", "JPEG"), CURVE: picture("blue", "PNG")}


@pytest.fixture(scope="session")
def original(tmp_path_factory, record, controlnet, pictures):
    """Folder of a remover. Tests must not change it."""
    folder = tmp_path_factory.mktemp("remover") / "glasses"
    write_remover(folder, controlnet.save_pretrained, record, pictures)
    return folder


@pytest.fixture
def remover(original, tmp_path):
    """A copy that tests may change, next to files of a training."""
    folder = Path(shutil.copytree(original, tmp_path / "remover"))
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "training.pt").write_bytes(b"state")
    (folder / "logs").mkdir()
    (folder / "logs" / "events").write_text("curve")
    return folder
