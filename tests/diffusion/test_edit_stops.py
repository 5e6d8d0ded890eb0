"""Resuming edits from any point, with every scheduler."""

import diffusers
import numpy as np
import pytest
import torch

from toolkit.backbones import load
from toolkit.backbones.spec import PART_CLASSES
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoEditPipeline
from toolkit.diffusion.scheduler_states import SchedulerStates
from toolkit.testing import tiny_backbone

STEPS = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tiny_backbone(tmp_path_factory.mktemp("tiny") / "backbone", text=False, vae="tiny")
    parts = ("vae", "unet", "text_encoder", "scheduler", "controlnet_tile", "motion_adapter")
    backbone = load(folder, parts, ComputeDevice("cpu", "float32", channels_last=False))
    unet = diffusers.UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter).eval().requires_grad_(False)
    return {
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": None,
        "unet": unet,
        "controlnet": backbone.controlnet_tile,
        "scheduler": backbone.scheduler,
    }


@pytest.fixture
def make(models):
    """A function that creates the pipeline with the named scheduler."""

    def build(name="DDIMScheduler"):
        more = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
        scheduler = getattr(diffusers, name).from_config(models["scheduler"].config, **more)
        pipeline = VideoEditPipeline(**{**models, "scheduler": scheduler})
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return build


class StopError(Exception):
    pass


def clip(stop=None):
    """Ten frames in chunks, with a square mask."""
    y, x = np.mgrid[:32, :32]
    for start in range(0, 10, 16):
        frames = np.stack([np.stack([x * 7, y * 7, (x + 9 * t) % 256], axis=2) for t in range(10)]).astype(np.uint8)
        masks = np.zeros(frames.shape[:3], bool)
        masks[:, 8:24, 8:24] = True
        yield frames[start:], masks[start:]
        if stop == "reading":
            raise StopError


def run(pipeline, folder=None, stop=None):
    done = [0]

    def on_windows(count):
        done[0] += count
        if stop == done[0]:
            raise StopError

    edited = pipeline.stream(
        clip(stop),
        num_inference_steps=STEPS,
        strength=1.0,
        context_length=4,
        context_overlap=1,
        normalisation="ion",
        generator=torch.Generator().manual_seed(5),
        folder=folder,
        resume=folder is not None,
        on_windows=on_windows,
        output_type="latent",
    )
    return torch.cat(list(edited))


@pytest.mark.parametrize("name", PART_CLASSES["scheduler"])
def test_every_scheduler_resumes_after_a_stop(make, name, tmp_path):
    expected = run(make(name))
    assert expected.shape[0] == 10 and expected.isfinite().all()
    with pytest.raises(StopError):
        run(make(name), tmp_path, stop=5)  # in the second timestep
    assert torch.equal(run(make(name), tmp_path), expected)


@pytest.mark.parametrize("stop", ["reading", 0, 1, 3, 4, 8, 9])
def test_resuming_from_any_point(make, tmp_path, stop):
    expected = run(make("DPMSolverMultistepScheduler"))
    with pytest.raises(StopError):
        run(make("DPMSolverMultistepScheduler"), tmp_path, stop)
    again = []
    pipeline = make("DPMSolverMultistepScheduler")
    predict = pipeline._predict
    pipeline._predict = lambda *values: again.append(1) or predict(*values)
    assert torch.equal(run(pipeline, tmp_path), expected)
    finished = 0 if stop == "reading" else stop // 3 - (stop % 3 == 0 and stop > 0)
    assert len(again) == 3 * (STEPS - finished)


def test_a_complete_run_is_only_decoded_again(make, tmp_path):
    expected = run(make("LCMScheduler"), tmp_path)
    pipeline = make("LCMScheduler")
    pipeline._predict = None
    assert torch.equal(run(pipeline, tmp_path), expected)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "EulerDiscreteScheduler"])
def test_stored_states_equal_one_scheduler_per_group(models, name, tmp_path):
    scheduler = getattr(diffusers, name).from_config(models["scheduler"].config)
    scheduler.set_timesteps(5)
    alone = {}
    for group in (0, 7):
        alone[group] = getattr(diffusers, name).from_config(models["scheduler"].config)
        alone[group].set_timesteps(5)
    states = SchedulerStates(scheduler, tmp_path)
    generator = torch.Generator().manual_seed(0)
    samples = {group: torch.randn(2, 4, 3, 3, generator=generator) for group in alone}
    kept = None
    for t in scheduler.timesteps:
        if kept is not None:  # as in another process
            states = SchedulerStates(scheduler, tmp_path)
            states.resume(kept)
        for group, one in alone.items():
            predicted = torch.randn(2, 4, 3, 3, generator=generator)
            scaled = one.scale_model_input(samples[group], t)
            mine = states.of(group)
            assert torch.equal(mine.scale_model_input(samples[group], t), scaled)
            expected = one.step(predicted, t, samples[group]).prev_sample
            assert torch.equal(mine.step(predicted, t, samples[group]).prev_sample, expected)
            states.keep(group, mine)
            samples[group] = expected
        kept = states.turn()
