import copy
import json

import pytest

from toolkit.pretrain import PretrainConfig
from toolkit.testing import drawn_dataset

FIRST = {"steps": 3, "train_batch_size": 2, "learning_rate": 1e-3, "lr_warmup_steps": 2, "half_size": True}
SECOND = {"steps": 3, "train_batch_size": 1, "learning_rate": 5e-4, "lr_warmup_steps": 1, "lr_decay": 0.5}
STAGE = {"phases": [FIRST, SECOND]}

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
        "regions": {"phases": [SECOND | {"region": [32, 16]}], "hints": {"pair": 1, "clean": 1}, "bfloat16": True},
        "inpaint": STAGE | {"hints": {"masked": 1}},
        "tile": STAGE | {"hints": {"pair": 1}},
        "motion": {"phases": [SECOND], "hints": {"pair": 1}, "clip_length": 3, "difference_weight": 1.0},
    },
}


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """Two datasets of drawn pictures, and a third one of other people. Tests must not change them."""
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
def phases():
    """The two of the recipe's stages."""
    return FIRST, SECOND


@pytest.fixture
def recipe_of(tmp_path):
    """A function that writes a recipe whose backbone has other phases."""

    def make(*phases):
        recipe = copy.deepcopy(RECIPE)
        recipe["stages"]["backbone"]["phases"] = list(phases)
        path = tmp_path / f"recipe-{len(list(tmp_path.glob('recipe-*')))}.json"
        path.write_text(json.dumps(recipe))
        return path

    return make


@pytest.fixture
def settings(datasets, recipe_file, tmp_path):
    """A function that returns the config of a short pretraining."""

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
