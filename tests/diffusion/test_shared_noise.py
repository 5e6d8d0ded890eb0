import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

from toolkit.diffusion import invert
from toolkit.errors import UsageError


def denoised(noise, predict, scheduler, steps):
    scheduler.set_timesteps(steps)
    for t in scheduler.timesteps:
        noise = scheduler.step(predict(noise, t), t, noise).prev_sample
    return noise


@pytest.fixture
def latents():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4))


def test_a_constant_prediction_is_inverted_exactly(parts, latents):
    # Then each inverse step undoes the step of the same timestep, whatever their number.
    fixed = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))

    def predict(sample, t):
        return fixed * (t / 1000)

    for steps in (4, 50):
        noise = invert(latents, predict, parts["scheduler"], steps)
        torch.testing.assert_close(denoised(noise, predict, parts["scheduler"], steps), latents, atol=1e-4, rtol=1e-4)
        assert abs(noise - latents).max() > 0.1


def test_by_hand_one_step():
    scheduler = DDIMScheduler(
        num_train_timesteps=2, trained_betas=[0.36, 0.75], clip_sample=False, set_alpha_to_one=True, steps_offset=1
    )
    # From clean to t = 1, where alphas_cumprod is 0.64 * 0.25 = 0.16: sqrt(0.16) * 3 + sqrt(0.84) * 0.5.
    noise = invert(torch.full((1, 1, 1, 1), 3.0), lambda x, t: torch.full_like(x, 0.5), scheduler, 1)
    assert noise.item() == pytest.approx(0.4 * 3 + 0.84**0.5 * 0.5, abs=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_more_steps_reconstruct_better_with_a_real_unet(parts, latents, prediction_type):
    scheduler = DDIMScheduler.from_config(parts["scheduler"].config, prediction_type=prediction_type)
    embeds = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(6))

    def predict(sample, t):
        # Scaled down, for a random UNet is rougher in the sample than a trained one.
        return 0.2 * parts["unet"](sample, t, encoder_hidden_states=embeds, return_dict=False)[0]

    errors = []
    with torch.no_grad():
        for steps in (8, 64):
            noise = invert(latents, predict, scheduler, steps)
            back = denoised(noise, predict, scheduler, steps)
            errors.append(float((back - latents).norm() / latents.norm()))
    assert errors[1] < 0.04 and errors[1] < errors[0] / 4


@pytest.mark.parametrize(
    "make", [DPMSolverMultistepScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler, LCMScheduler, PNDMScheduler]
)
def test_other_schedulers_lend_their_betas_and_are_not_changed(parts, latents, make):
    scheduler = make.from_config(parts["scheduler"].config)
    scheduler.set_timesteps(5)
    before = {key: str(value) for key, value in vars(scheduler).items()}
    fixed = torch.ones_like(latents)
    noise = invert(latents, lambda x, t: fixed, scheduler, 20)
    torch.testing.assert_close(noise, invert(latents, lambda x, t: fixed, parts["scheduler"], 20))
    assert before == {key: str(value) for key, value in vars(scheduler).items()}


def test_schedulers_clip_only_if_set_to(latents):
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    assert "clip_sample" not in scheduler.config
    noise = invert(100 * latents, lambda x, t: torch.zeros_like(x), scheduler, 10)
    # A prediction of no noise only scales, down to the level of the last timestep.
    torch.testing.assert_close(noise, 100 * latents * scheduler.alphas_cumprod[999] ** 0.5, atol=1e-3, rtol=1e-3)


def test_bad_requests(parts, latents):
    with pytest.raises(UsageError, match="no betas"):
        invert(latents, lambda x, t: x, FlowMatchEulerDiscreteScheduler(), 10)
    for steps in (0, 501):
        with pytest.raises(UsageError, match="1 to 500 inversion steps"):
            invert(latents, lambda x, t: x, parts["scheduler"], steps)


def test_a_model_that_predicts_the_image_is_refused():
    scheduler = DDIMScheduler(prediction_type="sample")
    with pytest.raises(UsageError, match="predicts the image"):
        invert(torch.zeros(1, 1, 2, 2), lambda x, t: x, scheduler, 4)
