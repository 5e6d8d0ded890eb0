import numpy as np
import pytest
import torch

from toolkit.diffusion import mask_to_latent
from toolkit.errors import UsageError


def test_one_pixel_by_hand():
    # One pixel in cell (2, 2) of 6x6: dilated to cells 1..3, then the mean of the 3x3 neighbours,
    # of which the first cell has two in each direction.
    mask = np.zeros((1, 48, 48), bool)
    mask[0, 17, 23] = True
    ramp = np.array([1 / 2, 2 / 3, 1, 2 / 3, 1 / 3, 0])
    latent = mask_to_latent(mask)
    assert latent.dtype == torch.float32 and latent.shape == (1, 1, 6, 6)
    np.testing.assert_allclose(latent[0, 0], np.outer(ramp, ramp), atol=1e-6)


def test_border_cells_average_over_the_neighbours_that_exist():
    mask = np.zeros((1, 32, 32), bool)
    mask[0, 0, 0] = True
    ramp = np.array([1, 2 / 3, 1 / 3, 0])  # dilated cells 0 and 1: means over 2, 3, 3 and 2 of them
    np.testing.assert_allclose(mask_to_latent(mask)[0, 0], np.outer(ramp, ramp), atol=1e-6)


def test_a_rim_of_one_pixel_survives_whole_where_interpolation_loses_it():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 3, 3:61] = mask[0, 60, 3:61] = mask[0, 3:61, 3] = mask[0, 3:61, 60] = True
    touched = torch.nn.functional.max_pool2d(torch.from_numpy(mask)[:, None].float(), 8) > 0
    assert (mask_to_latent(mask)[touched] == 1).all()
    assert torch.nn.functional.interpolate(torch.from_numpy(mask)[:, None].float(), size=(8, 8)).max() == 0


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_masked_cells_stay_at_one_and_far_ones_at_zero(cell):
    rng = np.random.default_rng(cell)
    for _ in range(20):
        mask = rng.random((2, 9 * cell, 7 * cell)) < 0.002
        cells = torch.from_numpy(mask.reshape(2, 9, cell, 7, cell).any((2, 4)))[:, None]
        latent = mask_to_latent(mask, cell)
        assert latent.shape == cells.shape and (latent >= 0).all() and (latent <= 1).all()
        assert (latent[cells] == 1).all()
        near = torch.nn.functional.max_pool2d(cells.float(), 5, stride=1, padding=2) > 0
        assert ((latent > 0) == near).all()


def test_soft_masks_keep_their_maximum():
    mask = torch.zeros(1, 40, 40)
    mask[0, 20, 20] = 0.4
    latent = mask_to_latent(mask)
    assert float(latent.max()) == pytest.approx(0.4) and torch.equal(latent, mask_to_latent(mask.numpy()))


def test_bad_shapes_are_refused():
    with pytest.raises(UsageError, match="multiples of 8"):
        mask_to_latent(np.zeros((1, 20, 24), bool))
    with pytest.raises(UsageError, match=r"\[T, H, W\]"):
        mask_to_latent(np.zeros((24, 24), bool))
    with pytest.raises(UsageError, match=r"`keep` with the masks' shape"):
        mask_to_latent(np.zeros((1, 24, 24), bool), keep=np.zeros((1, 24, 32), bool))


def test_holes_that_the_dilation_closes_are_opened_by_their_share_of_each_cell():
    keep = np.zeros((1, 64, 64), bool)
    keep[0, 28:34, 16:40] = True  # half of the cells of row 3, a quarter of row 4
    mask = ~keep
    mask[:, :8] = mask[:, 56:] = False
    assert (mask_to_latent(mask)[0, 0, 3:5] == 1).all()
    latent = mask_to_latent(mask, keep=keep)
    assert torch.allclose(latent[0, 0, 3, 2:5], torch.tensor(0.5)) and (latent[0, 0, 3, 5:] == 1).all()
    assert torch.allclose(latent[0, 0, 4, 2:5], torch.tensor(0.75))
    away = np.ones((8, 8), bool)
    away[3:5, 2:5] = False
    assert torch.equal(latent[0, 0][away], mask_to_latent(mask)[0, 0][away])
