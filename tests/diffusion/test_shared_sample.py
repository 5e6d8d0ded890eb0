"""Frames that start from one sample: the prediction of diffusers' whole forward, with the down path computed once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from toolkit.diffusion.shared_sample import SharedSample, can_share, is_shared

SHAPE = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
    "attention_head_dim": 4,
    "in_channels": 4,
}
BLOCKS = {
    "attention": (("CrossAttnDownBlock2D", "DownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")),
    "plain": (("DownBlock2D", "DownBlock2D"), ("UpBlock2D", "UpBlock2D")),
}


@pytest.fixture(params=BLOCKS)
def networks(request):
    down, up = BLOCKS[request.param]
    torch.manual_seed(3)
    unet = UNet2DConditionModel(down_block_types=down, up_block_types=up, out_channels=4, sample_size=8, **SHAPE)
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    for weights in controlnet.parameters():  # the last convolutions are zero at first
        torch.nn.init.normal_(weights, std=0.2)
    return unet.eval().requires_grad_(False), controlnet.eval().requires_grad_(False)


def arguments(frames):
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(1, 4, 8, 8, generator=generator)
    hint, embeds = torch.rand(frames, 3, 16, 16, generator=generator), torch.randn(1, 3, 8, generator=generator)
    return sample, torch.tensor(999), embeds, hint


def residuals(controlnet, sample, t, embeds, hint):
    prompts = embeds.expand(len(hint), -1, -1)
    down, mid = controlnet(sample, t, encoder_hidden_states=prompts, controlnet_cond=hint, return_dict=False)
    return [*down, mid]


def whole(unet, sample, t, embeds, control):
    *down, mid = control
    return unet(
        sample.expand(len(mid), -1, -1, -1),
        t,
        encoder_hidden_states=embeds.expand(len(mid), -1, -1),
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
    ).sample


def test_predictions_equal_diffusers_and_the_down_path_runs_once(networks):
    unet, controlnet = networks
    sample, t, embeds, hint = arguments(5)
    control = residuals(controlnet, sample.expand(5, -1, -1, -1), t, embeds, hint)
    expected = whole(unet, sample, t, embeds, control)
    assert (expected[1:] - expected[:-1]).abs().amax(dim=(1, 2, 3)).min() > 1e-3  # the hints differ
    ran = []
    handles = [block.conv1.register_forward_hook(lambda *_: ran.append(1)) for block in unet.mid_block.resnets]
    shared = SharedSample(unet, sample, t, embeds)
    found = torch.cat([shared.predict([one[part] for one in control]) for part in (slice(0, 3), slice(3, 5))])
    assert len(ran) == len(unet.mid_block.resnets)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    for handle in handles:
        handle.remove()
    assert torch.equal(whole(unet, sample, t, embeds, control), expected)  # the UNet is as it was


def test_a_controlnet_takes_one_sample_for_all_hints(networks):
    _, controlnet = networks
    sample, t, embeds, hint = arguments(3)
    for one, other in zip(
        residuals(controlnet, sample, t, embeds, hint),
        residuals(controlnet, sample.expand(3, -1, -1, -1), t, embeds, hint),
    ):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


def test_what_is_kept_belongs_to_one_sample_timestep_and_prompt(networks):
    unet, _ = networks
    sample, t, embeds, _ = arguments(1)
    shared = SharedSample(unet, sample, t, embeds)
    assert shared.is_for(unet, sample.clone(), t.clone(), embeds.clone())
    assert not shared.is_for(unet, sample + 1, t, embeds)
    assert not shared.is_for(unet, sample, t - 1, embeds)
    assert not shared.is_for(unet, sample, t, embeds + 1)
    assert not shared.is_for(torch.nn.Identity(), sample, t, embeds)


def test_equal_samples():
    sample = torch.randn(1, 4, 8, 8).repeat(3, 1, 1, 1)
    assert is_shared(sample)
    sample[2, 0, 0, 0] += 1e-6
    assert not is_shared(sample)


def test_only_plain_unets_share(networks):
    unet, _ = networks
    assert can_share(unet)
    with pytest.raises(ValueError, match="expected a plain UNet2DConditionModel, found Identity"):
        SharedSample(torch.nn.Identity(), *arguments(1)[:3])
    unet.forward = unet.forward  # as a hook of accelerate does
    assert not can_share(unet)


def test_threads_share_the_unet(networks):
    """Each thread has its own sample; one of them runs the UNet as a whole."""
    unet, controlnet = networks
    hint = arguments(4)[-1]

    def work(number):
        torch.manual_seed(number)
        sample, embeds = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8)
        t = torch.tensor(999 - number)
        control = residuals(controlnet, sample.expand(4, -1, -1, -1), t, embeds, hint)
        shared = SharedSample(unet, sample, t, embeds)
        for _ in range(20):
            expected = whole(unet, sample, t, embeds, control)
            assert (shared.predict(control) - expected).abs().max() < 1e-5 * expected.abs().max()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
