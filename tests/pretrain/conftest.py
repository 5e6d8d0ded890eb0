import json

import pytest

from toolkit.pretrain import PretrainConfig
from toolkit.testing import drawn_dataset

STAGE = {"max_train_steps": 6, "train_batch_size": 2, "learning_rate": 1e-3, "lr_warmup_steps": 2, "lr_decay": 0.5}

RECIPE = {
    "name": "nano",
    "version": 1,
    "licence": "Apache-2.0",
    "num_inference_steps": 2,
    "learning_rate": 1e-3,
    "training_timesteps": [999, 999, 499],
    "shape": {
        "resolution": 64,
        "cell": 2,
        "channels": [16, 32],
        "heads": 2,
        "width": 8,
        "hint_channels": [8, 24],
        "motion_heads": 2,
    },
    "stages": {
        "backbone": STAGE | {"hints": {"pair": 1, "drawn": 1, "masked": 1, "degraded": 1, "clean": 1}},
        "inpaint": STAGE | {"hints": {"masked": 1}},
        "tile": STAGE | {"hints": {"pair": 1}},
        "motion": STAGE | {"hints": {"pair": 1}, "clip_length": 3, "difference_weight": 1.0, "train_batch_size": 1},
    },
}


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """Two datasets of drawn pictures and a third one of other people; nobody changes them."""
    root = tmp_path_factory.mktemp("datasets")
    return [
        drawn_dataset(root / "blots"),
        drawn_dataset(root / "spots", task="spot", format="webdataset"),
        drawn_dataset(root / "held-out", sources={"dave.mp4": "train"}),
    ]


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "small.json"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture
def settings(datasets, recipe_file, tmp_path):
    """A function that makes the config of a short pretraining."""

    def make(**changed) -> PretrainConfig:
        values = {
            "stage": "backbone",
            "data": datasets[:2],
            "output": tmp_path / "nano",
            "recipe": recipe_file,
            "checkpointing_steps": 2,
            "dataloader_num_workers": 0,
            "device": "cpu",
        }
        return PretrainConfig.model_validate(values | changed)

    return make
