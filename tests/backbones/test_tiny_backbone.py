"""The tiny backbone: real classes, reproducible bytes, and every part has an effect."""

import diffusers
import pytest
import torch

from toolkit.backbones import load
from toolkit.testing import tiny_backbone


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_and_the_global_generator_is_left_alone(pristine, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    again = contents(tiny_backbone(tmp_path / "again"))
    assert torch.equal(torch.rand(3), expected)
    assert again == contents(pristine)
    other = contents(tiny_backbone(tmp_path / "other", seed=1))
    assert {path for path in again if again[path] != other[path]} == {
        path for path in again if path.suffix == ".safetensors"
    }
    assert sum(map(len, again.values())) < 20e6


def test_diffusers_pipelines_accept_it(pristine):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        pristine, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    images = [
        pipeline(
            prompt,
            height=64,
            width=64,
            num_inference_steps=3,
            output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images
        for prompt in ("a face", "a hat")
    ]
    assert images[0].shape == (1, 64, 64, 3) and images[0].std() > 0.01
    assert abs(images[0] - images[1]).max() > 1e-3, "the prompt has no effect"


@pytest.mark.parametrize(
    "settings",
    [{}, {"text": False}, {"vae": "tiny", "vae_scale_factor": 4, "latent_channels": 8}, {"vae_scale_factor": 2}],
    ids=str,
)
def test_variants_fit_together_and_every_part_counts(settings, tmp_path):
    backbone = load(tiny_backbone(tmp_path / "b", **settings), parts=("vae", "unet", "text_encoder", "controlnet_tile"))
    channels, cell = settings.get("latent_channels", 4), settings.get("vae_scale_factor", 8)
    frame = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        encoded = backbone.vae.encode(frame)
        latents = encoded.latents if settings.get("vae") == "tiny" else encoded.latent_dist.mode()
        assert latents.shape == (2, channels, 64 // cell, 64 // cell)
        assert backbone.vae.decode(latents).sample.shape == frame.shape
        text = backbone.text_encoder(torch.zeros(2, 5, dtype=torch.long))[0]
        down, middle = backbone.controlnet_tile(latents, 10, text, frame, return_dict=False)
        plain = backbone.unet(latents, 10, text).sample
        guided = backbone.unet(
            latents, 10, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        ).sample
    assert plain.shape == latents.shape and torch.isfinite(guided).all()
    assert (plain - guided).abs().max() > 1e-3, "the ControlNet has no effect"


def test_motion_adapter_mixes_frames(pristine):
    backbone = load(pristine, parts=("unet", "motion_adapter"))
    unet = diffusers.UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter).eval()
    latents = torch.randn(1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    other = latents.clone()
    other[:, :, 2] += 1
    text = torch.zeros(3, 5, 32)
    with torch.inference_mode():
        change = (unet(latents, 10, text).sample - unet(other, 10, text).sample).abs()
    assert change[:, :, 0].max() > 1e-4, "frame 0 knows nothing of frame 2"
