"""Without the paper's methods, the pipeline equals diffusers', including all random draws."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionControlNetInpaintPipeline,
    UniPCMultistepScheduler,
)

from toolkit.diffusion import VideoInpaintPipeline

OFF = {"reference_frames": None, "blend_ratio": None, "shared_noise": None}


def of_diffusers(parts, clip, generator, prompt="a face", negative_prompt="glasses", **arguments):
    """Frames from `StableDiffusionControlNetInpaintPipeline` for a batch, with the hint built as documented."""
    frames, masks = clip
    pipeline = StableDiffusionControlNetInpaintPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    image = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    mask = torch.from_numpy(masks)[:, None]
    count = len(frames)
    return pipeline(
        [prompt] * count,
        image,
        mask.float(),
        torch.where(mask, -1.0, image),
        negative_prompt=[negative_prompt] * count,
        generator=generator,
        output_type="np",
        **{"controlnet_conditioning_scale": 1.0, **arguments},
    ).images


@pytest.mark.parametrize(("strength", "steps"), [(1.0, 4), (0.6, 5)])
@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
def test_ddim(parts, pipeline, clip, seeded, strength, steps, guidance_scale):
    settings = {
        "num_inference_steps": steps,
        "strength": strength,
        "guidance_scale": guidance_scale,
        "controlnet_conditioning_scale": 0.8,
    }
    expected = of_diffusers(parts, clip, seeded(3), **settings)
    for batch in (8, 2):
        found = pipeline(
            *clip, "a face", "glasses", generator=seeded(3), frame_batch_size=batch, **settings, **OFF
        ).frames
        assert np.abs(found - expected).max() < 1e-4
    if strength < 1 or guidance_scale == 1:
        return
    # The same comparison notices another seed and another prompt.
    other = pipeline(*clip, "a face", "glasses", generator=seeded(4), **settings, **OFF).frames
    assert np.abs(other - expected).max() > 1e-2
    other = pipeline(*clip, "a dog", "glasses", generator=seeded(3), **settings, **OFF).frames
    assert np.abs(other - expected).max() > 2e-4


@pytest.mark.parametrize(
    "make",
    [
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        UniPCMultistepScheduler,
        LCMScheduler,
        HeunDiscreteScheduler,
        PNDMScheduler,
    ],
)
def test_other_schedulers_with_a_state_or_random_draws(parts, clip, seeded, make):
    clip = tuple(part[:3] for part in clip)
    settings = {"num_inference_steps": 5, "strength": 0.8, "guidance_scale": 3.0}
    config = parts["scheduler"].config
    expected = of_diffusers({**parts, "scheduler": make.from_config(config)}, clip, seeded(1), **settings)
    pipeline = VideoInpaintPipeline(**{**parts, "scheduler": make.from_config(config)})
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(*clip, "a face", "glasses", generator=seeded(1), frame_batch_size=2, **settings, **OFF).frames
    assert np.abs(found - expected).max() < 1e-4
    whole = pipeline(*clip, "a face", "glasses", generator=seeded(1), frame_batch_size=2, num_inference_steps=4).frames
    assert np.isfinite(whole).all()


def test_one_generator_per_frame_and_initial_latents(parts, pipeline, clip, seeded):
    generators = [seeded(k) for k in range(5)]
    settings = {"num_inference_steps": 3, "guidance_scale": 2.0}
    expected = of_diffusers(parts, clip, [seeded(k) for k in range(5)], **settings)
    found = pipeline(*clip, "a face", "glasses", generator=generators, **settings, **OFF).frames
    assert np.abs(found - expected).max() < 1e-4

    noise = torch.randn(5, 4, 6, 8, generator=seeded(9))
    expected = of_diffusers(parts, clip, seeded(2), latents=noise, **settings)
    found = pipeline(*clip, "a face", "glasses", generator=seeded(2), latents=noise, **settings, **OFF).frames
    assert np.abs(found - expected).max() < 1e-4


def test_embeddings_replace_prompts(parts, pipeline, clip, seeded):
    text, negative = pipeline.encode_prompt("a face", "cpu", 1, True, "glasses")
    settings = {"num_inference_steps": 3, "generator": None, **OFF}
    by_text = pipeline(*clip, "a face", "glasses", **{**settings, "generator": seeded()}).frames
    by_embedding = pipeline(
        *clip, prompt_embeds=text, negative_prompt_embeds=negative, **{**settings, "generator": seeded()}
    ).frames
    assert np.array_equal(by_text, by_embedding)


def test_the_schedulers_settings_are_unchanged(pipeline, clip, seeded):
    config = dict(pipeline.scheduler.config)
    first = pipeline(*clip, num_inference_steps=3, generator=seeded()).frames
    second = pipeline(*clip, num_inference_steps=3, generator=seeded()).frames
    assert np.array_equal(first, second) and dict(pipeline.scheduler.config) == config
    assert isinstance(pipeline.scheduler, DDIMScheduler)
