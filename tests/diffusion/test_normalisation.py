"""Eq. 2 of the paper and its purpose."""

import numpy as np
import pytest
import torch

from toolkit.diffusion.normalisation import RegionStatistics, adain_normalise, inside_out_normalise, renormalise


@pytest.fixture
def clip():
    torch.manual_seed(0)
    latents = torch.randn(6, 4, 12, 12) * torch.tensor([1.0, 2.0, 0.5, 3.0]).view(1, 4, 1, 1) + 0.7
    mask = torch.zeros(6, 1, 12, 12)
    for t in range(6):
        mask[t, :, 3 : 8 + t % 2, 2:9] = 1
    return latents, mask


def test_equation_two_equals_a_naive_implementation(clip):
    latents, mask = clip
    found = inside_out_normalise(latents, mask)
    inside = mask[:, 0].bool().numpy()
    for channel in range(4):
        x = latents[:, channel].double().numpy()
        m_in, s_in, m_out, s_out = x[inside].mean(), x[inside].std(), x[~inside].mean(), x[~inside].std()
        wanted = np.where(inside, s_out * (x - m_in) / s_in + m_out, x)
        assert np.abs(found[:, channel].numpy() - wanted).max() < 1e-5


def test_inside_has_the_statistics_of_the_outside_which_stays(clip):
    latents, mask = clip
    latents = latents + 5 * mask
    found = inside_out_normalise(latents, mask)
    assert torch.equal(found[mask.expand_as(found) == 0], latents[mask.expand_as(found) == 0])
    statistics = RegionStatistics()
    statistics.update(found, mask)
    assert torch.allclose(statistics.inside().mean, statistics.outside().mean, atol=1e-5)
    assert torch.allclose(statistics.inside().std, statistics.outside().std, atol=1e-5)


@pytest.mark.parametrize("cuts", [(1, 2, 3), (5,), ()])
def test_chunks_have_the_statistics_of_the_whole(clip, cuts):
    latents, mask = clip
    whole, parts = RegionStatistics(), RegionStatistics()
    whole.update(latents + 1000, mask)
    for part, region in zip(torch.tensor_split(latents + 1000, cuts), torch.tensor_split(mask, cuts)):
        parts.update(part, region)
    for one, other in ((whole.inside(), parts.inside()), (whole.outside(), parts.outside())):
        assert torch.allclose(one.mean, other.mean, atol=1e-10)
        assert torch.allclose(one.std, other.std, atol=1e-7)
        assert one.count == other.count
    inside = mask[:, 0].bool()
    means = [(latents[:, channel] + 1000).double()[inside].mean() for channel in range(4)]
    assert torch.allclose(whole.inside().mean, torch.stack(means), atol=1e-3)  # the float32 of the sum


def test_a_ring_has_the_statistics_of_what_is_next_to_the_mask(clip):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 3, 32, 32, generator=generator)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, 12:20, 10:18] = 1  # no mask in the second frame
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    beside = torch.stack([(12 - y).clamp(min=0) + (y - 19).clamp(min=0), (10 - x).clamp(min=0) + (x - 17).clamp(min=0)])
    near = beside.norm(dim=0) <= 2  # a sixteenth of the side
    ring = near & (mask[0, 0] == 0)
    made = inside_out_normalise(latents, mask, ring=1 / 16)
    inside = made[0, :, mask[0, 0] > 0]
    wanted = latents[0, :, ring]
    assert torch.allclose(inside.mean(1), wanted.mean(1), atol=1e-4)
    assert torch.allclose(inside.std(1, correction=0), wanted.std(1, correction=0), atol=1e-4)
    far = latents + 100 * (~near & (mask == 0))
    assert torch.allclose(inside_out_normalise(far, mask, ring=1 / 16)[0, :, mask[0, 0] > 0], inside, atol=1e-4)
    assert not torch.allclose(inside_out_normalise(latents, mask)[0, :, mask[0, 0] > 0], inside, atol=1e-2)


def test_full_and_empty_masks_change_nothing(clip):
    latents, mask = clip
    assert torch.equal(inside_out_normalise(latents, torch.zeros_like(mask)), latents)
    assert torch.equal(inside_out_normalise(latents, torch.ones_like(mask)), latents)


def test_a_flat_inside_is_shifted_but_not_scaled(clip):
    latents, mask = clip
    flat = torch.where(mask.bool(), torch.tensor(3.0), latents)
    found = inside_out_normalise(flat, mask)
    outside = [flat[:, c][~mask[:, 0].bool()].double().mean() for c in range(4)]
    for channel in range(4):
        assert torch.allclose(found[:, channel][mask[:, 0].bool()].double(), outside[channel], atol=1e-5)


def test_soft_mask_mixes(clip):
    latents, mask = clip
    soft = mask * 0.75
    hard, mixed = inside_out_normalise(latents, mask), inside_out_normalise(latents, soft)
    assert torch.allclose(mixed, latents + 0.75 * (hard - latents), atol=1e-5)
    half = renormalise(latents.half(), mask, None, None)
    assert half.dtype == torch.float16


def test_the_papers_claim_on_an_edit_whose_colours_have_shifted(clip):
    """ION brings the inside closer to the outside than AdaIN, which keeps the original difference, or nothing."""
    latents, mask = clip
    original = latents + 2 * mask  # what was there, such as dark glasses, differs from the skin around it
    edited = latents * 1.3 * mask + latents * (1 - mask) - 1.5 * mask

    def distance(x):
        statistics = RegionStatistics()
        statistics.update(x, mask)
        one, other = statistics.inside(), statistics.outside()
        return float((one.mean - other.mean).abs().sum() + (one.std - other.std).abs().sum())

    ion, adain = inside_out_normalise(edited, mask), adain_normalise(edited, original, mask)
    assert distance(ion) < 0.01 * distance(edited)
    assert distance(ion) < 0.01 * distance(adain)
