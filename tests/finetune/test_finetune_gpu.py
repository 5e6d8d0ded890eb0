"""Finetuning on a CUDA device: number formats, 8-bit moments, workers, and resuming."""

import json

import numpy as np
import pytest

from toolkit.errors import MissingExtra, UsageError
from toolkit.finetune import finetune
from toolkit.remover import read_remover

pytestmark = pytest.mark.gpu


def losses(output):
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("mixed_precision", ["no", "fp16", "bf16"])
def test_trains_as_on_the_cpu(settings, tmp_path, mixed_precision):
    changed = {"max_train_steps": 6, "checkpointing_steps": 3}
    finetune(settings(output=tmp_path / "cpu", **changed))
    mixed = {"mixed_precision": mixed_precision}
    report = finetune(settings(output=tmp_path / "gpu", cpu=False, optimisation=mixed, **changed))
    tolerance = 0.02 if mixed_precision == "no" else 0.1
    assert np.allclose(losses(tmp_path / "cpu"), losses(tmp_path / "gpu"), rtol=tolerance)
    assert read_remover(report.output).record.step == report.step


def test_goes_on_with_the_state_of_the_scaler(settings, tmp_path):
    mixed = {"mixed_precision": "fp16"}
    finetune(settings(output=tmp_path / "whole", cpu=False, optimisation=mixed, max_train_steps=6))
    parted = settings(output=tmp_path / "parted", cpu=False, optimisation=mixed, max_train_steps=4)
    finetune(parted)
    finetune(parted.model_copy(update={"max_train_steps": 6, "resume_from_checkpoint": "latest"}))
    assert np.allclose(losses(tmp_path / "whole"), losses(tmp_path / "parted"), rtol=1e-3)


def test_eight_bit_adam(settings):
    config = settings(cpu=False, optimisation={"use_8bit_adam": True})
    try:
        report = finetune(config)
    except (MissingExtra, UsageError) as error:
        pytest.skip(str(error))
    assert read_remover(report.output).record.config["optimisation"]["use_8bit_adam"]
