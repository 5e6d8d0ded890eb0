import pytest

from toolkit.finetune.config import FinetuneConfig
from toolkit.testing import drawn_dataset, tiny_backbone


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    """Folder of a tiny backbone with a VAE and a text encoder. Tests must not change it."""
    return tiny_backbone(tmp_path_factory.mktemp("backbones") / "tiny")


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """Datasets by name: two formats, another task, and inpainted targets. Tests must not change them."""
    root = tmp_path_factory.mktemp("datasets")
    return {
        "folder": drawn_dataset(root / "folder"),
        "shards": drawn_dataset(root / "shards", format="webdataset"),
        "other": drawn_dataset(root / "other", task="spot", frames=2),
        "inpainted": drawn_dataset(root / "inpainted", task="stain", inpainted=True),
    }


@pytest.fixture(scope="session")
def make_settings(backbone, datasets):
    """A function that returns the config of a short training into a folder. It takes groups as dicts."""

    def make(output, **changed) -> FinetuneConfig:
        values = {
            "data": [datasets["folder"]],
            "output": output,
            "backbone": str(backbone),
            "max_train_steps": 4,
            "checkpointing_steps": 2,
            "report_to": "none",
            "cpu": True,
            "optimisation": {"train_batch_size": 2, "learning_rate": 1e-3},
            "validation": {"validation_steps": 2, "validation_samples": 2, "num_inference_steps": 2},
        }
        for name, value in changed.items():
            values[name] = values[name] | value if isinstance(value, dict) and name in values else value
        return FinetuneConfig.model_validate(values)

    return make


@pytest.fixture
def settings(make_settings, tmp_path):
    """A function that returns the config of a short training on a tiny backbone. It takes groups as dicts."""

    def make(output=tmp_path / "remover", **changed) -> FinetuneConfig:
        return make_settings(output, **changed)

    return make
