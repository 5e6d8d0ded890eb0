"""Schedulers and motion layers of a pipeline, and settings that are refused before any weight is read."""

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
from toolkit.edit.pipelines import make_scheduler, motion_unet
from toolkit.edit.resolve import NOT_OF_SAMPLES, check_motion, resolve, resolve_denoising, resolve_motion
from toolkit.errors import UsageError

CPU = ComputeDevice("cpu", "float32", channels_last=False)


@pytest.fixture(scope="module")
def parts(backbone):
    return load(backbone, ("unet", "scheduler", "motion_adapter"), CPU)


def scheduler_of(backbone, scheduler=None, **motion):
    """The scheduler that an edit makes from a loaded backbone."""
    spec, adapter = backbone.spec, backbone.motion_adapter is not None
    denoising = DenoisingConfig(scheduler=scheduler)
    beta_schedule = MotionConfig(**motion).beta_schedule
    return make_scheduler(backbone, resolve_denoising(denoising, spec, 20, beta_schedule, motion_adapter=adapter))


@pytest.mark.parametrize("name", PART_CLASSES["scheduler"])
def test_any_scheduler_has_the_noise_of_the_motion_adapter(parts, name):
    scheduler = scheduler_of(parts, name)
    assert type(scheduler).__name__ == name
    scheduler.set_timesteps(4)
    assert scheduler.config.beta_schedule == "linear"
    assert scheduler.timesteps[0] >= 990 or name in ("LCMScheduler", "TCDScheduler")
    assert scheduler.betas[[0, -1]].tolist() == pytest.approx([0.00085, 0.012], rel=1e-4)
    assert scheduler.betas[500] == pytest.approx((0.00085 + 0.012) / 2, rel=2e-3)


@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "EulerDiscreteScheduler"])
def test_predicting_the_true_noise_gives_a_clean_sample(parts, name):
    scheduler = scheduler_of(parts, name)
    scheduler.set_timesteps(20)
    clean, noise = torch.randn(2, 1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    sample = scheduler.add_noise(clean, noise, scheduler.timesteps[:1])
    for t in scheduler.timesteps:
        scheduler.scale_model_input(sample, t)
        sample = scheduler.step(noise, t, sample).prev_sample
    assert (sample - clean).std() < 0.05


def test_the_default_scheduler(parts):
    assert type(scheduler_of(parts)).__name__ == "DDIMScheduler"
    without = load(parts.spec, ("unet", "scheduler"), CPU)
    assert scheduler_of(without).config.beta_schedule == "scaled_linear"
    assert scheduler_of(parts, beta_schedule="scaled_linear").config.beta_schedule == "scaled_linear"
    from diffusers import LCMScheduler

    lcm = parts.spec.scheduler.model_copy(update={"class_name": "LCMScheduler"})
    distilled = SimpleNamespace(
        scheduler=LCMScheduler.from_config(parts.scheduler.config),
        motion_adapter=None,
        spec=parts.spec.model_copy(update={"scheduler": lcm}),
    )
    assert type(scheduler_of(distilled)).__name__ == "LCMScheduler"


def test_the_papers_layers_are_removed_and_others_by_name(parts):
    def missing(layers):
        names = check_motion(parts.spec, MotionConfig(motion_layers=layers))
        unet = motion_unet(parts, resolve_motion(MotionConfig(motion_layers=layers), parts.spec, 20))
        assert {name for name, module in unet.named_modules() if isinstance(module, NoMotion)} == set(names)
        return names

    papers = [f"up_blocks.{k}.motion_modules.{layer}" for k in (0, 1) for layer in (0, 1)]  # it has no third
    assert missing("paper") == missing(["paper"]) == papers
    assert missing("all") == missing([]) == []
    assert missing(["paper", "mid_block.motion_modules.0"]) == [*papers, "mid_block.motion_modules.0"]


def test_names_of_layers_follow_from_the_configurations(parts):
    unet = motion_unet(parts, resolve_motion(MotionConfig(motion_layers="all"), parts.spec, 20))
    known = named_motion_layers(read_config(parts.spec, "unet"), read_config(parts.spec, "motion_adapter"))
    assert sorted(known) == sorted(motion_layer_names(unet))


def test_without_motion_layers_the_unet_is_the_backbones_own(parts):
    every = named_motion_layers(read_config(parts.spec, "unet"), read_config(parts.spec, "motion_adapter"))
    for layers in ("none", every):
        motion = resolve_motion(MotionConfig(motion_layers=layers), parts.spec, 20)
        assert motion_unet(parts, motion) is parts.unet
        assert (motion.motion_adapter, motion.context_overlap, motion.shared_noise) == (False, 0, True)


@pytest.mark.parametrize(("layers", "steps", "used"), [("auto", 2, False), ("auto", 3, True), ("paper", 1, True)])
def test_motion_layers_are_used_at_the_steps_where_they_are_worth_their_cost(parts, layers, steps, used):
    spec = parts.spec.model_copy(update={"min_motion_steps": 3})
    motion = resolve_motion(MotionConfig(motion_layers=layers), spec, steps)
    assert motion.motion_adapter == used
    assert motion.context_overlap == (4 if used else 0)
    assert len(motion.removed_motion_layers) == (4 if used else 0)
    assert motion == resolve_motion(MotionConfig(motion_layers="paper" if used else "none"), spec, steps)


def test_settings_that_the_backbone_does_not_have(backbone, remover):
    def resolved(**groups):
        return resolve(EditConfig(remover=[remover], backbone=str(backbone), device="cpu", **groups))

    assert "motion_adapter" in resolved().parts
    assert "motion_adapter" not in resolved(motion={"motion_layers": "none"}).parts
    with pytest.raises(UsageError, match="nothing to guide by"):
        resolved(denoising={"guidance_scale": 3})
    with pytest.raises(UsageError, match="sees 32 frames"):
        resolved(motion={"context_length": 33})
    with pytest.raises(UsageError, match=r"no motion layer 'up_blocks\.7"):
        resolved(motion={"motion_layers": ["up_blocks.7.motion_modules.0"]})


def test_schedulers_that_a_backbone_of_samples_cannot_have(backbone, remover, monkeypatch):
    from toolkit.edit import resolve as resolving

    def of_samples(folder):
        return describe(folder).model_copy(update={"prediction_type": "sample"})

    monkeypatch.setattr(resolving, "describe", of_samples)
    monkeypatch.setattr("toolkit.edit.removers.check_backbone", lambda remover, spec: None)
    for name in PART_CLASSES["scheduler"]:
        settings = EditConfig(remover=[remover], backbone=str(backbone), denoising={"scheduler": name}, device="cpu")
        if name in NOT_OF_SAMPLES:
            with pytest.raises(UsageError, match="predicts the sample"):
                resolve(settings)
            continue
        denoising = resolve(settings).denoising
        scheduler = make_scheduler(load(backbone, ("scheduler",), CPU), denoising)
        scheduler.register_to_config(prediction_type="sample")
        scheduler.set_timesteps(4)
        sample = scheduler.scale_model_input(torch.zeros(1, 4, 2, 2), scheduler.timesteps[0])
        assert torch.isfinite(scheduler.step(torch.zeros(1, 4, 2, 2), scheduler.timesteps[0], sample).prev_sample).all()


def test_layers_cannot_be_removed_from_a_backbone_without_motion_adapter(parts):
    without = parts.spec.model_copy(update={"motion_adapter": None})
    for layers in ("paper", "all", "none", [], ["paper"]):
        assert not resolve_motion(MotionConfig(motion_layers=layers), without, 20).motion_adapter
    with pytest.raises(UsageError, match="has no motion adapter"):
        resolve_motion(MotionConfig(motion_layers=["mid_block.motion_modules.0"]), without, 20)


def test_load_pipeline_sets_the_hint(backbone, remover):
    assert load_pipeline(remover, backbone, device="cpu").config.hint == "frame"
    assert load_pipeline("inpaint:stickers", backbone, device="cpu").config.hint == "masked"


def test_load_pipeline_takes_the_groups_of_settings(backbone, remover):
    pipeline = load_pipeline(
        remover,
        backbone,
        denoising=DenoisingConfig(scheduler="EulerDiscreteScheduler", dtype="bfloat16"),
        motion=MotionConfig(motion_layers="none"),
        device="cpu",
    )
    assert type(pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert pipeline.unet.dtype == pipeline.controlnet.dtype == torch.bfloat16
    assert describe(backbone).prediction_type == pipeline.scheduler.config.prediction_type
