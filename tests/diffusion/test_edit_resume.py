"""Resuming an edit of several chunks, with a VAE that draws random numbers."""

import diffusers
import numpy as np
import pytest
import torch

from toolkit.backbones import load
from toolkit.backbones.spec import PART_CLASSES
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoEditPipeline
from toolkit.diffusion.chunks import CHUNK
from toolkit.errors import UsageError

COUNT, STEPS = CHUNK + 3, 2
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_tile", "motion_adapter")
NOISY = ("DDPMScheduler", "EulerAncestralDiscreteScheduler", "LCMScheduler", "TCDScheduler")
"""Schedulers that draw noise in their steps, or may."""
COARSE = ("DDIMScheduler", "PNDMScheduler")
"""Schedulers with a fixed step through the schedule, which evenly spaced timesteps do not match."""


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def models(backbone_folder):
    backbone = load(backbone_folder, PARTS, ComputeDevice("cpu", "float32", channels_last=False))
    unet = diffusers.UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter)
    return {
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": backbone.tokenizer,
        "unet": unet.eval().requires_grad_(False),
        "controlnet": backbone.controlnet_tile,
        "scheduler": backbone.scheduler,
    }


@pytest.fixture
def make(models):
    def build(name, kind=VideoEditPipeline, **changes):
        if name == "PNDMScheduler":
            changes["skip_prk_steps"] = True
        scheduler = getattr(diffusers, name).from_config(models["scheduler"].config, clip_sample=False, **changes)
        pipeline = kind(**{**models, "scheduler": scheduler})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return build


def chunks(stop=None):
    y, x = np.mgrid[:32, :32]
    frames = np.stack([np.stack([x * 7, y * 7, (x + 9 * t) % 256], axis=2) for t in range(COUNT)]).astype(np.uint8)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 8:20, 8:20] = True
    for start in range(0, COUNT, CHUNK):
        if stop == ("reading", start):
            raise StopError
        yield frames[start : start + CHUNK], masks[start : start + CHUNK]


def run(pipeline, folder=None, stop=None):
    def on_windows(count):
        if count and stop == "editing":
            raise StopError

    edited = []
    stream = pipeline.stream(
        chunks(stop),
        num_inference_steps=STEPS,
        strength=1.0,
        context_length=8,
        context_overlap=2,
        normalisation="adain",
        generator=torch.Generator().manual_seed(5),
        folder=folder,
        resume=folder is not None,
        on_windows=on_windows,
    )
    for pictures in stream:
        edited.append(pictures)
        if stop == "decoding":
            raise StopError
    return np.concatenate(edited)


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "LCMScheduler"])
def test_random_draws_resume_where_they_stopped(make, tmp_path, name):
    expected = run(make(name))
    assert expected.shape == (COUNT, 32, 32, 3)
    for stop in (("reading", CHUNK), "editing", "decoding"):  # one after the other in one folder
        with pytest.raises(StopError):
            run(make(name), tmp_path, stop)
    assert np.array_equal(run(make(name), tmp_path), expected)
    assert not list(tmp_path.glob("tmp*"))


def test_a_stop_while_latents_are_normalised(make, tmp_path, monkeypatch):
    from toolkit.diffusion import edit_pipeline

    expected = run(make("DDIMScheduler"))
    renormalise = edit_pipeline.renormalise

    def fails_at_the_end(latents, *more):
        if len(latents) < CHUNK:
            raise StopError
        return renormalise(latents, *more)

    monkeypatch.setattr(edit_pipeline, "renormalise", fails_at_the_end)
    with pytest.raises(StopError):
        run(make("DDIMScheduler"), tmp_path)
    monkeypatch.setattr(edit_pipeline, "renormalise", renormalise)
    assert np.array_equal(run(make("DDIMScheduler"), tmp_path), expected)


def test_a_run_without_resume_leaves_no_files(make, tmp_path):
    stream = make("DDIMScheduler").stream(
        chunks(), num_inference_steps=STEPS, strength=1.0, generator=torch.Generator().manual_seed(5), folder=tmp_path
    )
    next(stream)
    assert list(tmp_path.iterdir())
    stream.close()
    assert not list(tmp_path.iterdir())


class Knowing(VideoEditPipeline):
    """Predicts the added noise, so every step ends at the noised original."""

    def _clip(self, *arguments):
        self.original = super()._clip(*arguments)
        self.distances = []
        return self.original

    def _predict(self, sample, t, control, embeds, guidance_scale):
        return self.original.noise(0, len(sample))

    def _blended(self, latents, *arguments):
        mixed = super()._blended(latents, *arguments)
        self.distances.append(float((mixed - latents).abs().max() / latents.abs().max()))
        return mixed


@pytest.mark.parametrize("name", [name for name in PART_CLASSES["scheduler"] if name not in NOISY])
def test_the_original_is_blended_in_at_the_noise_level_of_the_latents(make, name):
    spacing = "leading" if name in COARSE else "linspace"
    pipeline = make(name, Knowing, timestep_spacing=spacing)
    list(
        pipeline.stream(
            ((frames[:8], masks[:8]) for frames, masks in list(chunks())[:1]),
            num_inference_steps=6,
            strength=1.0,
            context_length=8,
            context_overlap=2,
            blend_range=(0.5, 1.0),
            generator=torch.Generator().manual_seed(0),
            output_type="latent",
        )
    )
    *distances, last = pipeline.distances
    assert len(distances) >= 5
    assert max(distances) < 1e-4
    assert last < 0.1  # some end at their smallest level of noise, and the original is clean


@pytest.mark.parametrize("name", ["LCMScheduler", "TCDScheduler"])
def test_more_steps_than_a_distilled_schedule_has(make, name):
    with pytest.raises(UsageError, match=rf"{name} cannot run num_inference_steps of 60"):
        list(make(name).stream(chunks(), num_inference_steps=60, strength=0.1))
