"""Editing a clip: equal to diffusers on one window, with bounded memory for any length."""

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffVideoToVideoControlNetPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionMixin,
    UNetMotionModel,
)
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from PIL import Image

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import edit_pipeline
from toolkit.diffusion.context_windows import window_weights
from toolkit.diffusion.edit_pipeline import VideoEditPipeline
from toolkit.errors import InputError, UsageError

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_tile", "motion_adapter")
LINEAR = {"beta_schedule": "linear", "steps_offset": 1, "clip_sample": False, "timestep_spacing": "linspace"}


@pytest.fixture(scope="module")
def models(backbone_folder):
    backbone = load(backbone_folder, PARTS, ComputeDevice("cpu", "float32", channels_last=False))
    unet = UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter)
    return {
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": backbone.tokenizer,
        "unet": unet.eval().requires_grad_(False),
        "controlnet": backbone.controlnet_tile,
        "scheduler": DDIMScheduler.from_config(backbone.scheduler.config, **LINEAR),
    }


@pytest.fixture
def edit(models):
    pipeline = VideoEditPipeline(**models)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def moving(count, side=32):
    y, x = np.mgrid[:side, :side]
    frames = [np.stack([x * 7, y * 7, (x + y + 9 * t) % 256], axis=2) for t in range(count)]
    return np.stack(frames).astype(np.uint8)


def of_diffusers(models, frames, **settings):
    pipeline = AnimateDiffVideoToVideoControlNetPipeline(motion_adapter=None, **models)
    pipeline.set_progress_bar_config(disable=True)
    pictures = [Image.fromarray(frame) for frame in frames]
    return (
        pipeline(
            video=pictures,
            conditioning_frames=pictures,
            height=frames.shape[1],
            width=frames.shape[2],
            output_type="latent",
            controlnet_conditioning_scale=0.8,
            **settings,
        )
        .frames[0]
        .transpose(0, 1)
    )


@pytest.mark.parametrize("scheduler", [DDIMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize(("count", "strength", "guidance_scale"), [(16, 0.7, 1.0), (5, 1.0, 7.5), (1, 0.5, 1.0)])
def test_one_window_equals_diffusers(models, scheduler, count, strength, guidance_scale):
    models = {**models, "scheduler": scheduler.from_config(models["scheduler"].config)}
    settings = {
        "prompt": "a face",
        "negative_prompt": "glasses",
        "num_inference_steps": 5,
        "strength": strength,
        "guidance_scale": guidance_scale,
    }
    frames = moving(count)
    expected = of_diffusers(models, frames, generator=torch.Generator().manual_seed(3), **settings)
    pipeline = VideoEditPipeline(**models)
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        frames,
        controlnet_conditioning_scale=0.8,
        generator=torch.Generator().manual_seed(3),
        output_type="latent",
        **settings,
    ).frames
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * max(1, expected.abs().max())


def run(edit, frames, masks=None, **settings):
    values = {"num_inference_steps": 4, "strength": 0.8, "output_type": "latent", **settings}
    return edit(frames, masks, generator=torch.Generator().manual_seed(0), **values).frames


def test_windows_share_information_but_not_across_cuts(edit):
    frames, other = moving(40), moving(40)
    other[30:] = 255 - other[30:]
    apart = [run(edit, clip, cuts=[20]) for clip in (frames, other)]
    assert torch.equal(apart[0][:20], apart[1][:20])
    joined = [run(edit, clip) for clip in (frames, other)]
    assert not torch.equal(joined[0][:24], joined[1][:24])
    assert joined[0].isfinite().all()


@pytest.mark.parametrize("scheduler", [EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_multistep_schedulers_have_one_state_per_group(models, scheduler):
    models = {**models, "scheduler": scheduler.from_config(models["scheduler"].config)}
    pipeline = VideoEditPipeline(**models)
    pipeline.set_progress_bar_config(disable=True)
    frames = moving(20)
    # Windows of one frame that do not overlap are the frames one by one.
    together = run(pipeline, frames, context_length=1, context_overlap=0)
    cut = run(pipeline, frames, context_length=16, cuts=list(range(20)))
    assert torch.allclose(together, cut, atol=1e-5)


def test_latents_outside_the_mask_stay_close_to_the_original(edit, models):
    frames = moving(18, 64)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 40:56, 40:56] = True
    whole, masked = run(edit, frames), run(edit, frames, masks)
    source = models["vae"].encode(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1).latent_dist.mean
    source = source * models["vae"].config.scaling_factor
    spread = (masked[:, :, :3, :3] - source[:, :, :3, :3]).abs().max()
    assert spread < 0.1 * (whole[:, :, :3, :3] - source[:, :, :3, :3]).abs().max()
    assert (masked[:, :, 6, 6] - source[:, :, 6, 6]).abs().mean() > spread


def square(frames):
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 24:40, 24:40] = True
    return masks


def test_hints_go_to_the_controlnet_and_nowhere_else(edit):
    frames = moving(3, 64)
    masks, hints = square(frames), 255 - frames
    shown = run(edit, frames, masks, hints=hints)
    assert not torch.equal(shown, run(edit, frames, masks))
    deaf = {"controlnet_conditioning_scale": 0.0}
    assert torch.equal(run(edit, frames, masks, hints=hints, **deaf), run(edit, frames, masks, **deaf))
    with pytest.raises(UsageError, match="expected hints uint8"):
        run(edit, frames, masks, hints=hints[:2])


def test_the_encoding_of_the_masked_frame_is_blended_in(edit, models, monkeypatch):
    frames = moving(3, 64)
    masks, sources = square(frames), []
    blend = edit_pipeline.blend
    monkeypatch.setattr(
        edit_pipeline,
        "blend",
        lambda latents, source, *more, **options: sources.append(source) or blend(latents, source, *more, **options),
    )
    made = [run(edit, frames, masks, blend_source=source) for source in ("frame", "masked")]
    grey = torch.from_numpy(np.where(masks[..., None], 127.5, frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    wanted = models["vae"].encode(grey).latent_dist.mode() * models["vae"].config.scaling_factor
    assert torch.allclose(sources[-1], wanted, atol=1e-4) and not torch.allclose(sources[0], wanted, atol=1e-2)
    assert not torch.equal(*made)
    without = [run(edit, frames, masks, blend_source=one, blend_masks=False) for one in ("frame", "masked")]
    assert torch.equal(*without)


def test_a_callback_after_each_step_as_in_diffusers(edit):
    frames, seen = moving(5), []

    def callback(pipeline, step, timestep, tensors):
        seen.append((pipeline is edit, step, int(timestep), tuple(tensors["latents"].shape)))
        return {"latents": torch.full_like(tensors["latents"], 0.25)} if step == 2 else {}

    made = run(edit, frames, callback_on_step_end=callback)
    assert [(same, step) for same, step, _, _ in seen] == [(True, 0), (True, 1), (True, 2)]
    assert [timestep for _, _, timestep, _ in seen] == sorted((one[2] for one in seen), reverse=True)
    assert {shape for *_, shape in seen} == {tuple(made.shape)} and (made == 0.25).all()


def test_loras_load_as_in_diffusers(edit, tmp_path):
    assert isinstance(edit, StableDiffusionLoraLoaderMixin) and not isinstance(edit, StableDiffusionMixin)
    peft = pytest.importorskip("peft")
    frames = moving(2)
    before = run(edit, frames)
    edit.unet.add_adapter(peft.LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False))
    layers = peft.get_peft_model_state_dict(edit.unet)
    edit.save_lora_weights(tmp_path, unet_lora_layers=layers)
    edit.unload_lora_weights()
    assert torch.equal(run(edit, frames), before)
    edit.load_lora_weights(tmp_path)
    assert not torch.equal(run(edit, frames), before)
    edit.unload_lora_weights()


@pytest.mark.parametrize("kind", ["ion", "adain"])
def test_normalisation_uses_statistics_of_the_whole_clip(edit, models, kind):
    from toolkit.diffusion.latent_mask import mask_to_latent
    from toolkit.diffusion.normalisation import adain_normalise, inside_out_normalise

    frames = moving(21, 64)
    masks = np.zeros(frames.shape[:3], bool)
    masks[:, 24:40, 24:40] = True
    plain = run(edit, frames, masks, blend_masks=False)
    assert torch.equal(plain, run(edit, frames))
    found = run(edit, frames, masks, blend_masks=False, normalisation=kind)
    mask = mask_to_latent(masks, 8)
    if kind == "ion":
        assert torch.allclose(found, inside_out_normalise(plain, mask), atol=1e-5)
        return
    # The original's latents are drawn, chunk by chunk, from the generator that the run had.
    generator = torch.Generator().manual_seed(0)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1
    drawn = [models["vae"].encode(part).latent_dist.sample(generator) for part in pixels.split(16)]
    original = torch.cat(drawn) * models["vae"].config.scaling_factor
    assert torch.allclose(found, adain_normalise(plain, original, mask), atol=1e-5)


def test_the_controlnet_runs_once_per_frame_and_timestep(edit, monkeypatch):
    frames, seen = moving(40), []
    control = edit._control
    monkeypatch.setattr(edit, "_control", lambda sample, *rest: seen.append(len(sample)) or control(sample, *rest))
    run(edit, frames, guidance_scale=3.0)
    assert sum(seen) == 3 * 40


@torch.no_grad()
def test_reusing_the_controlnet_in_overlaps_changes_nothing(edit, models):
    """One step by hand: the ControlNet runs separately for each window, and predictions are averaged by weight."""
    frames, settings = moving(28), {"num_inference_steps": 1, "strength": 1.0, "guidance_scale": 2.0}
    found = run(edit, frames, **settings)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    source = torch.cat(
        [models["vae"].encode(part / 127.5 - 1).latent_dist.sample(generator) for part in pixels.split(16)]
    )
    source = source * models["vae"].config.scaling_factor
    noise = torch.randn(source.shape, generator=generator)
    scheduler = DDIMScheduler.from_config(models["scheduler"].config)
    scheduler.set_timesteps(1)
    (t,) = scheduler.timesteps
    sample = scheduler.add_noise(source, noise, t.reshape(1))
    embeds = edit._embed("", "", 2.0, "cpu")
    total, weights = torch.zeros_like(sample), torch.zeros(28, 1, 1, 1)
    for start, stop in ((0, 16), (12, 28)):
        control = edit._control(sample[start:stop], t, pixels[start:stop] / 255, embeds, 1.0)
        weight = window_weights(16).view(-1, 1, 1, 1)
        total[start:stop] += weight * edit._predict(sample[start:stop], t, control, embeds, 2.0)
        weights[start:stop] += weight
    expected = scheduler.step(total / weights, t, sample).prev_sample
    assert torch.allclose(found, expected, atol=1e-4 * expected.abs().max())


def test_shared_noise_keeps_equal_frames_similar(edit):
    still = np.repeat(moving(1), 20, axis=0)
    settings = {"context_length": 1, "context_overlap": 0, "strength": 1.0}
    shared, own = (run(edit, still, shared_noise=value, **settings) for value in (True, False))
    # The VAE's draw differs from frame to frame, so that little of a difference is left.
    assert (shared[1:] - shared[:-1]).std() < 0.1 * (own[1:] - own[:-1]).std()


def test_stream_yields_the_whole_result_in_chunks(edit):
    frames = moving(37)
    whole = edit(frames, num_inference_steps=2, generator=torch.Generator().manual_seed(1)).frames
    chunks = [(frames[k : k + 16], None) for k in range(0, 37, 16)]
    streamed = list(edit.stream(iter(chunks), num_inference_steps=2, generator=torch.Generator().manual_seed(1)))
    assert [len(chunk) for chunk in streamed] == [16, 16, 5]
    assert np.array_equal(np.concatenate(streamed), whole)
    assert whole.dtype == np.uint8
    assert whole.shape == frames.shape


def test_bad_input(edit):
    with pytest.raises(InputError, match="no frames"):
        list(edit.stream(iter(())))
    with pytest.raises(UsageError, match="multiples of 8"):
        edit(np.zeros((2, 30, 32, 3), np.uint8))
    with pytest.raises(UsageError, match="expected frames uint8"):
        edit(np.zeros((2, 32, 32, 3), np.float32))
    with pytest.raises(UsageError, match="expected masks"):
        edit(moving(2), np.zeros((3, 32, 32), bool))
    with pytest.raises(UsageError, match="strength"):
        edit(moving(2), strength=0.0)
    with pytest.raises(UsageError, match="needs masks"):
        edit(moving(2), normalisation="ion")
    with pytest.raises(UsageError, match="runs none of"):
        edit(moving(2), strength=0.1, num_inference_steps=3)
