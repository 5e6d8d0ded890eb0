"""The weights of the loss, compared with values worked out by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from toolkit.finetune.config import LossConfig
from toolkit.finetune.encode import contrast
from toolkit.finetune.loss import FAINTNESS, USUAL_CONTRAST, faintness, losses

CELLS = torch.tensor([[1.0, 0.0], [0.0, 0.0]])[None, None]


def loss(values, contrasts, **config):
    """A batch with one channel of 2x2 cells, of which the first is masked."""
    squared = torch.tensor(values).sqrt()[:, None]
    batch = SimpleNamespace(cells=CELLS.expand(len(values), -1, -1, -1), contrast=torch.tensor(contrasts))
    return losses(squared, torch.zeros_like(squared), batch, None, LossConfig(**config)).tolist()


def test_mask_weight():
    values = [[[4.0, 1.0], [1.0, 2.0]]]
    assert loss(values, [math.nan]) == pytest.approx([2.0])
    assert loss(values, [math.nan], mask_weight=5) == pytest.approx([(5 * 4 + 1 + 1 + 2) / 8])


def test_contrast_power_weighs_faint_pairs_more():
    values = [[[4.0, 1.0], [1.0, 2.0]]] * 4
    contrasts = [USUAL_CONTRAST, USUAL_CONTRAST / 4, USUAL_CONTRAST * 2, math.nan]
    weights = [3, 12, 1.5, 3]
    expected = [(weight * 4 + 4) / (weight + 3) for weight in weights]
    assert loss(values, contrasts, mask_weight=3, contrast_power=1) == pytest.approx(expected)
    halfway = [(weight * 4 + 4) / (weight + 3) for weight in (3, 6, 3 / 2**0.5, 3)]
    assert loss(values, contrasts, mask_weight=3, contrast_power=0.5) == pytest.approx(halfway)


def test_faintness_is_bounded():
    assert faintness(torch.tensor([0.0, 1e9]), 1).tolist() == [FAINTNESS[1], FAINTNESS[0]]


def test_contrast():
    target = np.full((4, 4, 3), 100, np.uint8)
    source, mask = target.copy(), np.zeros((4, 4), bool)
    source[0, 0], source[3, 3], mask[0, :2] = 151, 255, True
    assert contrast(source, target, mask) == pytest.approx(0.2**2 / 2)
    assert math.isnan(contrast(source, target, ~np.ones((4, 4), bool)))
