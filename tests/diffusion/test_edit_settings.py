"""Settings of the editing pipeline: declared once, as an object or as keywords."""

import numpy as np
import pytest
import torch

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import EditSettings, VideoEditPipeline
from toolkit.errors import UsageError
from toolkit.testing import tiny_backbone


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    import diffusers

    folder = tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone", text=False, vae="tiny")
    parts = ("vae", "unet", "text_encoder", "scheduler", "controlnet_tile", "motion_adapter")
    backbone = load(folder, parts, ComputeDevice("cpu", "float32", channels_last=False))
    pipeline = VideoEditPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=None,
        unet=diffusers.UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter).eval(),
        controlnet=backbone.controlnet_tile,
        scheduler=backbone.scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_an_object_and_keywords_are_the_same_settings(pipeline):
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)

    def edited(**options):
        return pipeline(frames, generator=torch.Generator().manual_seed(0), **options).frames

    wanted = edited(num_inference_steps=2, strength=1.0, output_type="latent")
    settings = EditSettings(num_inference_steps=2, strength=1.0, output_type="latent")
    assert torch.equal(edited(settings=settings), wanted)
    assert torch.equal(edited(settings=EditSettings(num_inference_steps=2), strength=1.0, output_type="latent"), wanted)
    assert not torch.equal(edited(settings=settings, strength=0.5), wanted)
    assert settings == EditSettings(num_inference_steps=2, strength=1.0, output_type="latent"), "never changed"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_inference_step": 2}, "num_inference_step', did you mean num_inference_steps"),
        ({"zzz": 2}, "known are prompt, negative_prompt"),
        ({"strength": 1.2}, "strength must be over 0 and at most 1, found 1.2"),
        ({"blend_range": (0.5, 0.2)}, "ascending"),
        ({"normalisation": "eq2"}, "ion, ion-ring, adain or none"),
        ({"output_type": "pil"}, "uint8 or latent"),
        ({"blend_source": "original"}, "frame or masked"),
    ],
)
def test_bad_settings_are_explained(pipeline, settings, message):
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    for call in (lambda: pipeline(frames, **settings), lambda: list(pipeline.stream([(frames, None)], **settings))):
        with pytest.raises(UsageError, match=message):
            call()
