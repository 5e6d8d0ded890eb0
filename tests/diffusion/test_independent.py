"""Clips whose frames are independent: edited chunk by chunk, with the bytes of the whole clip, and without a disk."""

import diffusers
import numpy as np
import pytest
import torch

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import EditSettings, VideoEditPipeline
from toolkit.diffusion.chunks import CHUNK
from toolkit.diffusion.motion_layers import motion_layer_names, remove_motion_layers
from toolkit.testing import tiny_backbone

COUNT = 2 * CHUNK + 5
SETTINGS = EditSettings(num_inference_steps=2, strength=1.0, shared_noise=True, context_length=6, context_overlap=2)
CPU = ComputeDevice("cpu", "float32", channels_last=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone", text=False, vae="tiny")
    parts = ("vae", "unet", "text_encoder", "scheduler", "controlnet_tile", "motion_adapter")
    backbone = load(folder, parts, CPU)
    return backbone, {
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": None,
        "unet": backbone.unet,
        "controlnet": backbone.controlnet_tile,
        "scheduler": diffusers.DDIMScheduler.from_config(backbone.scheduler.config, clip_sample=False),
    }


@pytest.fixture
def make(models):
    def build(**changes):
        pipeline = VideoEditPipeline(**{**models[1], **changes})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return build


def clip(start=0):
    y, x = np.mgrid[:32, :32]
    frames = [np.stack([x * 7, y * 7, (x + 9 * t) % 256], axis=2).astype(np.uint8) for t in range(COUNT)]
    masks = np.zeros((COUNT, 32, 32), bool)
    masks[:, 8:20, 8:20] = True
    for k in range(start, COUNT, CHUNK):
        yield np.stack(frames[k : k + CHUNK]), masks[k : k + CHUNK]


def run(pipeline, chunks, **options):
    generator = torch.Generator().manual_seed(7)
    return np.concatenate(list(pipeline.stream(chunks, settings=SETTINGS, generator=generator, **options)))


def test_what_makes_frames_independent(make, models):
    backbone, parts = models
    plain, moving = make(), diffusers.UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter)
    assert plain.independent(SETTINGS)
    for change in ({"shared_noise": False}, {"reference_frames": "first"}, {"normalisation": "ion"}):
        assert not plain.independent(SETTINGS.changed(change))
    assert not make(unet=moving).independent(SETTINGS)
    remove_motion_layers(moving, motion_layer_names(moving)[1:])
    assert not make(unet=moving).independent(SETTINGS)
    remove_motion_layers(moving, motion_layer_names(moving))
    assert make(unet=moving).independent(SETTINGS)
    assert not make(vae=diffusers.AutoencoderKL(block_out_channels=(32,))).independent(SETTINGS)
    for name, independent in (
        *(("DPMSolverSinglestepScheduler", False), ("LCMScheduler", False), ("EulerAncestralDiscreteScheduler", False)),
        *(("UniPCMultistepScheduler", True), ("PNDMScheduler", True)),
    ):
        scheduler = getattr(diffusers, name).from_config(parts["scheduler"].config)
        assert make(scheduler=scheduler).independent(SETTINGS) == independent, name


@pytest.mark.parametrize("name", ["DDIMScheduler", "UniPCMultistepScheduler"])
def test_parts_have_the_bytes_of_the_whole(make, models, monkeypatch, name):
    scheduler = getattr(diffusers, name).from_config(models[1]["scheduler"].config)
    whole = run(make(scheduler=scheduler), clip())
    assert whole.shape == (COUNT, 32, 32, 3)
    assert np.array_equal(run(make(scheduler=scheduler), clip(CHUNK)), whole[CHUNK:])
    monkeypatch.setattr(VideoEditPipeline, "independent", lambda self, settings: False)
    dependent = run(make(scheduler=scheduler), clip())
    assert np.abs(dependent.astype(int) - whole).max() <= 1  # in other batches, on the disk


def test_a_chunk_comes_out_before_the_next_one_is_read(make, tmp_path):
    read, counted = [], []

    def chunks():
        for frames, masks in clip():
            read.append(len(frames))
            yield frames, masks

    pipeline = make()
    stream = pipeline.stream(
        chunks(), settings=SETTINGS, folder=tmp_path, resume=True, on_windows=lambda count: counted.append(count)
    )
    for number, edited in enumerate(stream):
        assert len(read) == number + 1 and len(edited) == read[-1]
        assert not list(tmp_path.iterdir())
    # Windows of at most 6 frames, which do not overlap: 3, 3 and 1, in each of 2 steps.
    assert sum(counted) == 2 * (3 + 3 + 1)


def test_other_weights_give_another_result(make, models):
    """What all frames share is kept from one call to the next, but not if a LoRA or training changed the weights."""
    pipeline, weight = make(), models[0].unet.conv_in.weight
    before, kept = run(pipeline, clip()), weight.detach().clone()
    with torch.no_grad():
        weight.mul_(3)
        changed = run(pipeline, clip())
        weight.copy_(kept)
    assert not np.array_equal(changed, before)
    assert np.array_equal(run(pipeline, clip()), before)


def test_a_callback_sees_the_latents_of_all_frames(make):
    shapes = []

    def callback(pipeline, step, timestep, tensors):
        shapes.append(len(tensors["latents"]))

    pipeline = make()
    assert np.array_equal(run(pipeline, clip(), callback_on_step_end=callback), run(pipeline, clip()))
    assert shapes == [COUNT, COUNT]


def test_the_same_noise_without_a_generator(make):
    frames = np.repeat(next(clip())[0][:1], COUNT, axis=0)
    edited = np.concatenate(list(make().stream(((frames[k : k + 16], None) for k in (0, 16)), settings=SETTINGS)))
    assert np.ptp(edited.astype(int), axis=0).max() <= 1


def test_the_down_path_is_shared_only_in_steps_whose_latents_are_equal(make, models, monkeypatch):
    config = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    zero = diffusers.DDIMScheduler.from_config(models[1]["scheduler"].config, **config, clip_sample=False)
    pipeline, seen = make(scheduler=zero), []
    predict = pipeline._predict

    def watched(sample, t, *more):
        seen.append((int(t), len(sample), more[-1]))
        return predict(sample, t, *more)

    monkeypatch.setattr(pipeline, "_predict", watched)
    found = run(pipeline, clip())
    assert {t for t, _, _ in seen} == {999, 499}
    for t, count, shared in seen:
        assert shared == (t == 999 or count == 1)
    whole = make(scheduler=zero)
    predict_whole = whole._predict
    monkeypatch.setattr(whole, "_predict", lambda *arguments: predict_whole(*arguments[:-1], False))
    assert np.abs(run(whole, clip()).astype(int) - found).max() <= 1
