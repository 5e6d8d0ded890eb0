import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

from toolkit.diffusion import blend

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def simple():
    """A scheduler with two noise levels by hand: alphas_cumprod 0.64 and 0.64 * 0.25 = 0.16."""
    return DDIMScheduler(num_train_timesteps=2, trained_betas=[0.36, 0.75])


def constant(value, channels=4):
    return torch.full((1, channels, 1, 2), float(value))


MASK = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)


def test_by_hand_outside_and_inside():
    # sqrt(0.64) * 10 + sqrt(0.36) * 5 = 11; outside 0.9 * 11 + 0.1 * 2 = 10.1; inside the latents, 2.
    blended = blend(constant(2), constant(10), constant(5), MASK, simple(), torch.tensor(0))
    torch.testing.assert_close(blended[0, 0, 0], torch.tensor([10.1, 2.0]))


def test_by_hand_after_the_last_step_the_background_is_clean():
    blended = blend(constant(2), constant(10), constant(5), MASK, simple(), None)
    torch.testing.assert_close(blended[0, 0, 0], torch.tensor([9.2, 2.0]))
    assert blend(constant(2), constant(10), constant(5), MASK, simple(), None, ratio=1)[0, 0, 0].tolist() == [10, 2]


def test_the_wrong_variants_differ():
    scheduler = simple()
    arguments = constant(2), constant(10), constant(5), MASK, scheduler
    left = blend(
        *arguments, torch.tensor(1)
    )  # the level of the step just left: 0.9 * (0.4 * 10 + sqrt(0.84) * 5) + 0.2
    assert float(left[0, 0, 0, 0]) == pytest.approx(7.9243, abs=1e-3)
    following, last = blend(*arguments, torch.tensor(0)), blend(*arguments, None)
    assert abs(left - following).max() > 2 and abs(last - following).max() > 0.8


def test_a_soft_mask_and_ratio_zero():
    latents, background, noise = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(2, 1, 5, 6)
    ddim = DDIMScheduler(**BETAS)
    assert torch.equal(blend(latents, background, noise, mask, ddim, 300, ratio=0), latents)
    noised = ddim.alphas_cumprod[300] ** 0.5 * background + (1 - ddim.alphas_cumprod[300]) ** 0.5 * noise
    expected = mask * latents + (1 - mask) * (0.7 * noised + 0.3 * latents)
    torch.testing.assert_close(blend(latents, background, noise, mask, ddim, 300, ratio=0.7), expected)


@pytest.mark.parametrize("make", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler])
def test_the_background_has_the_level_of_latents_that_were_stepped(make):
    # With the true noise as prediction each step leads to exactly the noised original, so blending changes nothing.
    scheduler = make(**BETAS, **({"clip_sample": False} if make is DDIMScheduler else {}))
    scheduler.set_timesteps(10)
    x0, noise = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outside = torch.zeros(1, 1, 8, 8)
    latents = scheduler.add_noise(x0, noise, scheduler.timesteps[:1])
    for t, following in zip(scheduler.timesteps[:-1], scheduler.timesteps[1:]):
        latents = scheduler.step(noise, t, latents).prev_sample
        blended = blend(latents, x0, noise, outside, scheduler, following, ratio=1)
        torch.testing.assert_close(latents, blended, atol=2e-3, rtol=2e-3)


def test_half_precision_keeps_its_dtype_and_the_clean_background_exactly():
    latents, background, noise = torch.randn(3, 1, 4, 8, 8).to(torch.bfloat16)
    mask = torch.zeros(1, 1, 8, 8)
    blended = blend(latents * 30, background, noise, mask, simple(), None, ratio=1)
    assert blended.dtype == torch.bfloat16 and torch.equal(blended, background)
