"""From removers and a backbone to a pipeline: schedulers, motion layers, refusals before any weight is read."""

from types import SimpleNamespace

import pytest
import torch

from toolkit.backbones import describe, load
from toolkit.backbones.locations import read_config
from toolkit.backbones.spec import PART_CLASSES
from toolkit.device import ComputeDevice
from toolkit.diffusion.motion_layers import NoMotion, motion_layer_names, named_motion_layers
from toolkit.edit import EditConfig, load_pipeline
from toolkit.edit.config import DenoisingConfig, MotionConfig
from toolkit.edit.models import EditModels, check_motion, make_scheduler, motion_unet
from toolkit.errors import UsageError

CPU = ComputeDevice("cpu", "float32", channels_last=False)


@pytest.fixture(scope="module")
def parts(backbone):
    return load(backbone, ("unet", "scheduler", "motion_adapter"), CPU)


def config(**groups):
    return EditConfig(remover=["x"], **groups)


@pytest.mark.parametrize("name", PART_CLASSES["scheduler"])
def test_any_scheduler_has_the_noise_of_the_motion_adapter(parts, name):
    scheduler = make_scheduler(parts, config(denoising={"scheduler": name}))
    assert type(scheduler).__name__ == name
    scheduler.set_timesteps(4)
    assert scheduler.config.beta_schedule == "linear"
    assert scheduler.timesteps[0] >= 990 or name in ("LCMScheduler", "TCDScheduler")
    assert scheduler.betas[[0, -1]].tolist() == pytest.approx([0.00085, 0.012], rel=1e-4)
    assert scheduler.betas[500] == pytest.approx((0.00085 + 0.012) / 2, rel=2e-3)


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_who_predicts_the_true_noise_ends_clean(parts, name):
    scheduler = make_scheduler(parts, config(denoising={"scheduler": name}))
    scheduler.set_timesteps(20)
    clean, noise = torch.randn(2, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    sample = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    for t in scheduler.timesteps:
        scheduler.scale_model_input(sample, t)
        sample = scheduler.step(noise, t, sample).prev_sample
    assert (sample - clean).std() < 0.05


def test_the_scheduler_that_nobody_named(parts):
    assert type(make_scheduler(parts, config())).__name__ == "DDIMScheduler"
    without = load(parts.spec, ("unet", "scheduler"), CPU)
    assert make_scheduler(without, config()).config.beta_schedule == "scaled_linear"
    forced = config(motion={"beta_schedule": "scaled_linear"})
    assert make_scheduler(parts, forced).config.beta_schedule == "scaled_linear"
    from diffusers import LCMScheduler

    distilled = SimpleNamespace(
        scheduler=LCMScheduler.from_config(parts.scheduler.config), motion_adapter=None, spec=parts.spec
    )
    assert type(make_scheduler(distilled, config())).__name__ == "LCMScheduler"


def test_the_papers_layers_are_left_out_and_others_by_name(parts):
    def missing(*words):
        names = check_motion(parts.spec, MotionConfig(removed_motion_layers=words))
        unet = motion_unet(parts, MotionConfig(removed_motion_layers=words))
        assert {name for name, module in unet.named_modules() if isinstance(module, NoMotion)} == set(names)
        return names

    papers = [f"up_blocks.{k}.motion_modules.{layer}" for k in (0, 1) for layer in (0, 1)]  # it has no third
    assert missing("paper") == papers
    assert missing() == []
    assert missing("paper", "mid_block.motion_modules.0") == [*papers, "mid_block.motion_modules.0"]


def test_layers_are_known_from_the_configurations(parts):
    unet = motion_unet(parts, MotionConfig(removed_motion_layers=[]))
    known = named_motion_layers(read_config(parts.spec, "unet"), read_config(parts.spec, "motion_adapter"))
    assert sorted(known) == sorted(motion_layer_names(unet))


@torch.no_grad()
def test_without_a_motion_adapter_every_frame_is_on_its_own(parts):
    alone = load(parts.spec, ("unet", "scheduler"), CPU)
    unet = motion_unet(alone, MotionConfig())
    sample = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    states = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(1))
    t = torch.tensor(300)
    video = unet(sample.transpose(0, 1)[None], t, encoder_hidden_states=states).sample[0].transpose(0, 1)
    assert torch.allclose(video, alone.unet(sample, t, states).sample, atol=1e-5)


def test_settings_that_the_backbone_does_not_have(backbone, remover):
    def models(**groups):
        return EditModels(EditConfig(remover=[remover], backbone=str(backbone), device="cpu", **groups))

    assert "motion_adapter" in models().parts and "motion_adapter" not in models(motion={"motion": False}).parts
    with pytest.raises(UsageError, match="nothing to guide by"):
        models(denoising={"guidance_scale": 3})
    with pytest.raises(UsageError, match="sees 32 frames"):
        models(motion={"context_length": 33})
    with pytest.raises(UsageError, match=r"no motion layer 'up_blocks\.7"):
        models(motion={"removed_motion_layers": ["up_blocks.7.motion_modules.0"]})


def test_schedulers_that_a_backbone_of_samples_cannot_have(backbone, remover, monkeypatch):
    from toolkit.edit import models, settling

    def of_samples(folder):
        return describe(folder).model_copy(update={"prediction_type": "sample"})

    monkeypatch.setattr(settling, "describe", of_samples)
    monkeypatch.setattr("toolkit.edit.removers.check_backbone", lambda remover, spec: None)
    for name in PART_CLASSES["scheduler"]:
        settings = EditConfig(remover=[remover], backbone=str(backbone), denoising={"scheduler": name}, device="cpu")
        if name in models.NOT_OF_SAMPLES:
            with pytest.raises(UsageError, match="predicts the sample"):
                EditModels(settings)
            continue
        EditModels(settings)
        scheduler = make_scheduler(load(backbone, ("scheduler",), CPU), settings)
        scheduler.register_to_config(prediction_type="sample")
        scheduler.set_timesteps(4)
        sample = scheduler.scale_model_input(torch.zeros(1, 4, 2, 2), scheduler.timesteps[0])
        assert torch.isfinite(scheduler.step(torch.zeros(1, 4, 2, 2), scheduler.timesteps[0], sample).prev_sample).all()


def test_layers_cannot_be_left_out_where_none_are_used(backbone, remover):
    motion = {"motion": False, "removed_motion_layers": ["mid_block.motion_modules.0"]}
    with pytest.raises(UsageError, match="none are used"):
        EditModels(EditConfig(remover=[remover], backbone=str(backbone), device="cpu", motion=motion))


def test_load_pipeline_knows_what_its_controlnet_is_shown(backbone, remover):
    assert load_pipeline(remover, backbone, device="cpu").config.hint == "frame"
    assert load_pipeline("inpaint:stickers", backbone, device="cpu").config.hint == "masked"


def test_load_pipeline_takes_the_groups_of_settings(backbone, remover):
    pipeline = load_pipeline(
        remover,
        backbone,
        denoising=DenoisingConfig(scheduler="EulerDiscreteScheduler", dtype="bfloat16"),
        motion=MotionConfig(motion=False),
        device="cpu",
    )
    assert type(pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert pipeline.unet.dtype == pipeline.controlnet.dtype == torch.bfloat16
    assert describe(backbone).prediction_type == pipeline.scheduler.config.prediction_type
