"""Cross-frame attention and the masked hint in the editing pipeline."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNetMotionModel

from toolkit.backbones import load
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoEditPipeline
from toolkit.diffusion.cross_frame_attention import CrossFrameProcessor
from toolkit.diffusion.motion_layers import motion_layer_names, remove_motion_layers
from toolkit.diffusion.references import shot_references
from toolkit.errors import UsageError

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_tile", "motion_adapter")


def make(backbone_folder, kind):
    backbone = load(backbone_folder, PARTS, ComputeDevice("cpu", "float32", channels_last=False))
    unet = UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter)
    if kind == "still":
        remove_motion_layers(unet, motion_layer_names(unet))
    pipeline = VideoEditPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=unet.eval().requires_grad_(False),
        controlnet=backbone.controlnet_tile,
        scheduler=DDIMScheduler.from_config(backbone.scheduler.config, clip_sample=False),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def still(backbone_folder):
    """Without motion layers, so that frames interact through attention only."""
    return make(backbone_folder, "still")


@pytest.fixture(scope="module", params=["motion", "still"])
def pipeline(request, backbone_folder):
    """With all motion layers, or with none."""
    return make(backbone_folder, request.param)


def clip(count, side=32):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def latents(pipeline, frames, **settings):
    settings = {"num_inference_steps": 2, "strength": 1.0, "shared_noise": True} | settings
    generator = torch.Generator().manual_seed(0)
    return pipeline(frames, generator=generator, output_type="latent", **settings).frames


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_all_frames_attend_to_the_references(still, guidance):
    frames = clip(6)
    plain = latents(still, frames, guidance_scale=guidance)
    first = latents(still, frames, guidance_scale=guidance, reference_frames="first")
    assert torch.allclose(first[0], plain[0], atol=1e-5), "the first frame attends to itself in both"
    assert ((first[1:] - plain[1:]).abs().amax(dim=(1, 2, 3)) > 1e-4).all()
    both = latents(still, frames, guidance_scale=guidance, reference_frames="first+middle")
    assert ((both - first).abs().amax(dim=(1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize("policy", ["first", "first+middle"])
def test_windows_share_the_references_of_their_shot(still, policy):
    frames = clip(9)
    whole = latents(still, frames, reference_frames=policy, context_length=16)
    parts = latents(still, frames, reference_frames=policy, context_length=4, context_overlap=2)
    assert torch.allclose(whole, parts, atol=1e-4)


def test_each_shot_has_its_own_references(pipeline):
    frames = clip(7)
    others = np.concatenate([255 - frames[:4], frames[4:]])
    for cuts in ([4], []):
        one, other = (latents(pipeline, some, reference_frames="first", cuts=cuts)[4:] for some in (frames, others))
        assert torch.allclose(one, other, atol=1e-4) == bool(cuts), "the second shot sees the first"
    assert shot_references("first+middle", 7, [4]) == {0: [0, 2], 4: [4, 5]}
    assert shot_references(None, 7, [4]) == {}


def test_a_frame_that_is_its_own_reference_is_unchanged(pipeline):
    one = clip(1)
    assert torch.allclose(latents(pipeline, one, reference_frames="first"), latents(pipeline, one), atol=1e-5)


def test_motion_modules_keep_their_attention_and_processors_are_restored(pipeline):
    seen = {}

    def look(*_):
        kinds = [
            (name, type(layer.processor)) for name, layer in pipeline.unet.named_modules() if name.endswith("attn1")
        ]
        seen.update(kinds)

    handle = pipeline.unet.conv_in.register_forward_hook(look)
    latents(pipeline, clip(3), reference_frames="first")
    handle.remove()
    assert {name for name, kind in seen.items() if kind is CrossFrameProcessor} == {
        name for name in seen if "motion_modules" not in name
    }
    for model in (pipeline.unet, pipeline.controlnet):
        assert not any(isinstance(getattr(layer, "processor", None), CrossFrameProcessor) for layer in model.modules())


def test_the_masked_hint_hides_masked_pixels(pipeline):
    frames, masks = clip(3), np.zeros((3, 32, 32), bool)
    masks[:, 8:16, 4:12] = True
    shown = []
    handle = pipeline.controlnet.register_forward_pre_hook(
        lambda module, args, kwargs: shown.append(kwargs["controlnet_cond"].clone()), with_kwargs=True
    )
    latents(pipeline, frames, masks=masks, hint="masked")
    latents(pipeline, frames, masks=masks)
    handle.remove()
    hidden, whole = shown[0], shown[-1]
    wanted = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(whole, wanted)
    where = torch.from_numpy(masks)[:, None].expand_as(wanted)
    assert (hidden[where] == -1).all() and torch.equal(hidden[~where], wanted[~where])


def test_other_types_of_frames_and_masks(pipeline):
    frames, masks = clip(2), np.zeros((2, 32, 32), bool)
    masks[:, 8:20, 8:20] = True
    wanted = latents(pipeline, frames, masks=masks)
    assert torch.equal(latents(pipeline, list(frames), masks=list(masks)), wanted)
    assert torch.equal(latents(pipeline, np.ascontiguousarray(frames[..., ::-1])[..., ::-1], masks=masks), wanted)
    for wrong in (masks.astype(np.uint8) * 255, masks * 2.0, masks - 1.0):
        with pytest.raises(UsageError, match="bool, or floats"):
            latents(pipeline, frames, masks=wrong)
    for settings in ({"num_inference_steps": 0}, {"guidance_scale": 0.5}):
        with pytest.raises(UsageError, match="at least 1"):
            latents(pipeline, frames, **settings)


def test_bad_settings(pipeline):
    with pytest.raises(UsageError, match="masked hint needs masks"):
        latents(pipeline, clip(2), hint="masked")
    with pytest.raises(UsageError, match="hint must be"):
        latents(pipeline, clip(2), hint="all")
    with pytest.raises(UsageError, match="reference frames"):
        latents(pipeline, clip(2), reference_frames="last")
