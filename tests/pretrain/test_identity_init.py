"""The initial weights copy the hint and ignore the noise."""

import pytest
import torch
from torch.nn import functional as F

from toolkit.pretrain.identity_init import IMAGE, initialise_as_identity
from toolkit.pretrain.shape import NanoShape, make_controlnet, make_unet


@pytest.fixture(params=[2, 4])
def made(request):
    widths = {2: ([16, 32], [8, 24]), 4: ([64, 128], [16, 32, 96])}[request.param]
    shape = NanoShape(resolution=64, cell=request.param, channels=widths[0], hint_channels=widths[1], heads=2, width=8)
    torch.manual_seed(0)
    unet = make_unet(shape)
    controlnet = make_controlnet(unet, shape)
    initialise_as_identity(unet, controlnet, shape)
    return shape, unet.eval(), controlnet.eval()


def picture(shape):
    """Smooth colours and a cut-out part, ``[2, 3, R, R]``."""
    colours = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    hint = F.interpolate(colours, shape.resolution, mode="bicubic").clamp(0, 1)
    hint[0, :, 10:20, 10:20] = -1
    return hint


@torch.inference_mode()
def output(made, hint, noise):
    shape, unet, controlnet = made
    states = torch.zeros(len(hint), 1, shape.width)
    down, mid = controlnet(noise, 999, states, hint, return_dict=False)
    given = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    return unet(noise, 999, states, **given).sample


@torch.inference_mode()
def test_the_hint_layers_take_pixels_apart_exactly(made):
    shape, _, controlnet = made
    hint = picture(shape)
    found = controlnet.controlnet_cond_embedding(hint).unflatten(1, (-1, 8))[:, :, :IMAGE].flatten(1, 2)
    assert torch.allclose(found, F.pixel_unshuffle(hint * 2 - 1, shape.cell), atol=1e-5)


def test_the_output_is_nearly_the_hint_whatever_the_noise(made):
    shape = made[0]
    hint = picture(shape)[1:]
    latents = F.pixel_unshuffle(hint * 2 - 1, shape.cell) * shape.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    found = output(made, hint, noise)
    assert torch.equal(found, output(made, hint, 5 * noise))
    # Compared with the mean picture, nearly all is there.
    assert (found - latents).square().mean() < 0.2 * latents.var()


def test_all_weights_can_learn(made):
    """Every weight gets a gradient, although some start at zero."""
    shape, unet, controlnet = made
    hint, states = picture(shape), torch.zeros(2, 1, shape.width)
    noise = torch.randn((2, shape.latent_channels, *[shape.resolution // shape.cell] * 2))
    down, mid = controlnet(noise, 999, states, hint, return_dict=False)
    given = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
    unet(noise, 999, states, **given).sample.square().mean().backward()
    for model in (unet, controlnet):
        for name, parameter in model.named_parameters():
            still = "attn2" in name or "norm2" in name  # the prompt is a zero here
            assert still or (parameter.grad is not None and parameter.grad.abs().max() > 0), name
