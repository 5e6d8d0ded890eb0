"""Gradual blending: weights of the original by distance to the mask."""

import pytest
import torch

from toolkit.diffusion.mask_schedule import original_weights


@pytest.fixture
def mask():
    """The left four of sixteen columns, and a soft column next to them."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :4] = 1
    mask[..., 4] = 0.4
    return mask


def test_weights_rise_with_the_distance(mask):
    row = original_weights(mask, (0.0, 0.7), 0.25)[0, 0, 8]
    expected = [0] * 4 + [0.7 * (k - 0.5) / 4 for k in range(1, 5)] + [0.7] * 8
    assert row.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_papers_range_is_the_default(mask):
    weights = original_weights(mask)
    assert (weights.min(), weights.max()) == (0, pytest.approx(0.7))


def test_zero_width_is_a_hard_edge(mask):
    row = original_weights(mask, (0.2, 1.0), 0)[0, 0, 0]
    assert row.tolist() == pytest.approx([0.2] * 4 + [1.0] * 12)


def test_empty_and_full_masks():
    masks = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    weights = original_weights(masks, (0.1, 0.6), 0.5)
    assert weights[0].unique().tolist() == pytest.approx([0.6])
    assert weights[1].unique().tolist() == pytest.approx([0.1])
