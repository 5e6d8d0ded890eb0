"""The model card, parsed like the Hub does."""

import re
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from toolkit.backbones import BACKBONES
from toolkit.remover import read_remover, render_card
from toolkit.remover.layout import CURVE, GRID


@pytest.fixture
def remote(record):
    """A record whose backbone is in repositories."""
    part = {"class_name": "X", "repository": "stable-diffusion-v1-5/stable-diffusion-v1-5", "revision": "0" * 40}
    backbone = {"name": "sd15", "parts": {name: part for name in ("unet", "vae", "text_encoder")}}
    return record.model_copy(update={"backbone": backbone, "licence": BACKBONES["sd15"].licence})


def test_front_matter_of_a_backbone_from_the_hub(remote):
    data = ModelCard(render_card(remote)).data.to_dict()
    assert data == {
        "library_name": "diffusers",
        "pipeline_tag": "image-to-image",
        "base_model": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "license": "creativeml-openrail-m",
        "tags": ["controlnet", "vlasik-toolkit"],
    }


def test_front_matter_of_a_backbone_in_a_folder(record):
    data = ModelCard(render_card(record)).data.to_dict()
    assert data["license"] == "other" and "base_model" not in data


def test_text(record):
    text = ModelCard(render_card(record, [GRID])).text
    assert "# Remover of glasses and stickers" in text
    assert f"](images/{GRID})" in text and CURVE not in text
    assert "| stickers | a face, bare \\| naïve |" in text
    assert "| g | glasses | 900 | 30 | imperfect |" in text and "| s\\|t | stickers | 800 | 20 | perfect |" in text
    assert (
        "from step 750, which scored best on held-out pairs. Training ended for this reason: early stopping: for 5"
        in text
    )
    assert "| removal | 0.8123 |" in text and "| sharpness | not measured |" in text
    assert "| seed | 3 |" in text and "| train_batch_size | 8 |" in text and "snr_gamma" not in text
    assert re.findall(r"^## (.+)", text, re.M) == [
        *("How to use it", "Training data", "Training", "Results on held-out people", "Limits and responsibility")
    ]
    assert "None" not in text and "{" not in text


def test_training_that_started_from_another_remover(record):
    config = {"init": {"controlnet/config.json": "0" * 64}, "seed": 0}
    text = render_card(record.model_copy(update={"config": config}))
    assert "| init" not in text and "| seed | 0 |" in text


def test_untrusted_names_are_escaped(record):
    name = "# no\n![x](http://example.org)\n---\nlicense: mit\n---\n<script>"
    dataset = record.datasets[0].model_copy(update={"name": name})
    card = ModelCard(render_card(record.model_copy(update={"datasets": [dataset], "stopped": name})))
    assert card.data.license == "other"
    assert not re.search(r"^# no|(?<!\\)<script|!\[x\]", card.text, re.M)


def test_tables_have_equal_rows(record):
    text = render_card(record, [GRID, CURVE])
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block


def test_code_of_the_card_runs(original):
    card = (original / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    code = code.replace("path/to/this/folder", str(original)) + "print(type(controlnet).__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "ControlNetModel"


def test_written_card_is_the_rendered_one(original, record):
    assert (original / "README.md").read_text(encoding="utf-8") == render_card(
        read_remover(original).record, [GRID, CURVE]
    )
