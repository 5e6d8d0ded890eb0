"""Inpainting pipelines of diffusers make pairs: tiny ones of the real classes, with random weights."""

import json

import numpy as np
import pytest
import torch

from toolkit.backbones import describe
from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.synthesis.compositing import composited
from toolkit.synthesis.config import InpaintConfig
from toolkit.synthesis.diffusers_inpainter import DiffusersInpainter, pipeline_class
from toolkit.synthesis.inpainter import BackboneInpainter, create_inpainter
from toolkit.testing import tiny_backbone

PROMPTS = {"prompt": "a face", "negative_prompt": "glasses"}


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    masks = np.zeros((3, 64, 64), bool)
    masks[:2, 20:40, 10:50] = True
    return frames, masks


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    """Folder of a tiny SDXL, saved as text-to-image, as the models on the hub are."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from toolkit.testing.tiny_backbone import _tokenizer, _vocabulary

    torch.manual_seed(0)
    words = _vocabulary()
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=37,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_act="gelu",
        bos_token_id=words["<|startoftext|>"],
        eos_token_id=words["<|endoftext|>"],
        pad_token_id=words["<|endoftext|>"],
    )
    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + 32,
        cross_attention_dim=64,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(16, 16),
            norm_num_groups=8,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        text_encoder_2=CLIPTextModelWithProjection(text),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
    )
    folder = tmp_path_factory.mktemp("sdxl")
    pipeline.save_pretrained(folder)
    return folder


def flux_fill():
    """FLUX Fill without text encoders, and prompts that it can do without them."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel

    torch.manual_seed(0)
    pipeline = FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            norm_num_groups=4,
            latent_channels=2,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.1,
        ),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4 * 2 + 4 * 2 + 4 * 2 * 2,  # packed latents, masked latents, and the mask's pixels
            out_channels=4 * 2,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
    )
    return pipeline, {"prompt_embeds": torch.randn(1, 4, 32), "pooled_prompt_embeds": torch.randn(1, 32)}


def qwen_edit():
    """Qwen-Image-Edit without its text encoder. It works at a million pixels, so it is as narrow as can be."""
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImageEditInpaintPipeline,
        QwenImageTransformer2DModel,
    )

    torch.manual_seed(0)
    channels = 4
    pipeline = QwenImageEditInpaintPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=channels,
            dim_mult=[1, 1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False] * 4,
            latents_mean=[0.0] * channels,
            latents_std=[1.0] * channels,
        ),
        text_encoder=None,
        tokenizer=None,
        processor=None,
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=4 * channels,
            out_channels=channels,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    )
    embeds = {"prompt_embeds": torch.randn(1, 5, 16), "prompt_embeds_mask": torch.ones(1, 5, dtype=torch.long)}
    return pipeline, {**embeds, "true_cfg_scale": 1.0}


@pytest.mark.parametrize("make", [flux_fill, qwen_edit])
def test_pipelines_with_other_ways_to_read_prompts_inpaint(make, clip):
    frames, masks = clip[0][1:], clip[1][1:]  # the second has an empty mask
    pipeline, arguments = make()
    pipeline.set_progress_bar_config(disable=True)
    inpainter = DiffusersInpainter(pipeline, num_inference_steps=1, arguments=arguments)
    made = inpainter(frames, masks, **PROMPTS)
    assert made.frames.shape == frames.shape and made.frames.dtype == np.uint8
    assert np.array_equal(made.frames[~made.mask], frames[~made.mask]) and not made.mask[1].any()
    assert (made.frames[masks] != frames[masks]).mean() > 0.9


def resolved(folder, backbone, **settings):
    config = InpaintConfig(backbone=str(backbone), pipeline=folder, num_inference_steps=2, **settings)
    return config.resolved(describe(str(backbone)), "cpu")


def test_a_folder_of_a_text_to_image_pipeline_inpaints_frame_by_frame(sdxl, backbone, clip):
    frames, masks = clip
    settings = resolved(sdxl, backbone)
    assert settings.shared_noise == "seed"
    inpainter = create_inpainter(settings, "cpu")
    assert pipeline_class(sdxl).__name__ == "StableDiffusionXLInpaintPipeline"
    made = inpainter(frames, masks, **PROMPTS)
    assert np.array_equal(made.frames[~made.mask], frames[~made.mask]) and not made.mask[2].any()
    assert (made.frames[masks] != frames[masks]).mean() > 0.9
    alone = inpainter.generate(frames[1:2], masks[1:2], **PROMPTS)
    assert np.array_equal(composited(frames[1:2], alone, masks[1:2], None).frames, made.frames[1:2])
    again, other = (inpainter(frames[:1], masks[:1], **PROMPTS, seed=seed).frames for seed in (0, 1))
    assert np.array_equal(again, made.frames[:1]) and not np.array_equal(other, again)
    keep = np.zeros_like(masks)
    keep[:, 28:31, 20:30] = True
    held = inpainter(frames[:1], masks[:1] & ~keep[:1], **PROMPTS, keep=keep[:1])
    assert np.array_equal(held.frames[0][keep[0]], frames[0][keep[0]])


def test_arguments_reach_the_pipeline_and_its_size_may_differ(sdxl, backbone, clip):
    frames, masks = clip[0][:1], clip[1][:1]
    plain = create_inpainter(resolved(sdxl, backbone), "cpu").generate(frames, masks, **PROMPTS)
    arguments = {"height": 96, "width": 96, "guidance_scale": 2}
    large = create_inpainter(resolved(sdxl, backbone, pipeline_arguments=arguments), "cpu")
    seen = []
    large._pipeline.unet.register_forward_hook(lambda module, args, output: seen.append(args[0].shape))
    made = large.generate(frames, masks, **PROMPTS)
    assert made.shape == frames.shape and not np.array_equal(made, plain)
    assert seen[0] == (2, 4, 48, 48)


def test_without_a_pipeline_the_backbone_inpaints(backbone):
    config = InpaintConfig(backbone=str(backbone)).resolved(describe(str(backbone)), "cpu")
    assert type(create_inpainter(config, "cpu")) is BackboneInpainter


def test_wrong_arguments_and_folders_are_sentences(sdxl, backbone, tmp_path):
    with pytest.raises(UsageError, match=r"no argument 'guidance_scal'.*guidance_scale"):
        create_inpainter(resolved(sdxl, backbone, pipeline_arguments={"guidance_scal": 3}), "cpu")
    with pytest.raises(UsageError, match="cannot set image"):
        create_inpainter(resolved(sdxl, backbone, pipeline_arguments={"image": 3}), "cpu")
    with pytest.raises(ToolkitError, match=r"model_index\.json"):
        create_inpainter(resolved(tmp_path, backbone), "cpu")
    index = tmp_path / "model_index.json"
    for name, sentence in (("StableAudioPipeline", "no inpainting"), ("NoSuchPipeline", "does not have")):
        index.write_text(json.dumps({"_class_name": name}))
        with pytest.raises(UsageError, match=sentence):
            pipeline_class(tmp_path)
    index.write_text(json.dumps({"_class_name": "StableDiffusionXLInpaintPipeline", "unet": ["diffusers", "UNet"]}))
    with pytest.raises(InputError, match="cannot be loaded"):
        create_inpainter(resolved(tmp_path, backbone), "cpu")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pipeline_arguments": {"width": 64}}, "--pipeline"),
        ({"pipeline": "there", "shared_noise": "inversion"}, "not inverted"),
    ],
)
def test_settings_that_do_not_fit_together(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        InpaintConfig(**settings)
