"""Write a backbone of real model classes with random weights, small enough for tests on one core."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from toolkit.files import write_text

PARTS = (
    *("vae", "unet", "text_encoder", "tokenizer", "scheduler"),
    *("controlnet_inpaint", "controlnet_tile", "motion_adapter"),
)
"""Folders that `tiny_backbone` writes. `tokenizer` exists only with a text encoder."""

CHANNELS = (32, 64, 64)
"""Widths of the UNet's levels. The last level has no attention, as in Stable Diffusion 1.5."""


def tiny_backbone(
    folder: str | Path,
    *,
    seed: int = 0,
    text: bool = True,
    vae: Literal["kl", "tiny", "unshuffle"] = "kl",
    latent_channels: int = 4,
    vae_scale_factor: Literal[2, 4, 8] = 8,
    cross_attention_dim: int = 32,
) -> Path:
    """Write a backbone in diffusers' folder format and return its path.

    The backbone has a UNet with three levels in the layout of Stable Diffusion 1.5, two ControlNets, a VAE, a CLIP text
    model with a vocabulary of single letters, SD 1.5's DDIM noise schedule, and a motion adapter. Output layers that
    start at zero get random weights. The same arguments write the same files with the same version of torch.

    Args:
        folder: created if it does not exist; files of an earlier call are overwritten.
        seed: seed of the weights.
        text: include a text encoder and a tokenizer; otherwise a `ConstantTextEncoder` of four tokens.
        vae: `AutoencoderKL`, the deterministic `AutoencoderTiny`, or the lossless `PixelUnshuffleCoder`.
        latent_channels: channels of VAE, UNet and ControlNets; ignored for `PixelUnshuffleCoder`, which derives them
            from the scale factor.
        vae_scale_factor: pixels per latent cell.
        cross_attention_dim: width of the text encoder and of the UNet's cross-attention.
    """
    import torch

    folder = Path(folder)
    if vae == "unshuffle":
        latent_channels = 3 * vae_scale_factor**2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts = _models(vae, latent_channels, vae_scale_factor, cross_attention_dim)
        parts["text_encoder"] = _text_encoder(text, cross_attention_dim)
        if text:
            parts["tokenizer"] = _tokenizer()
        for part in parts.values():
            if isinstance(part, torch.nn.Module):
                _fill_zeros(part)
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index: dict[str, str | list[str | None]] = {"_class_name": "StableDiffusionPipeline"}
    for name in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        part = parts.get(name)
        module = type(part).__module__
        # diffusers imports its own classes and those of transformers from the top level, all others from their module.
        library = None if part is None else module if module.startswith("toolkit.") else module.partition(".")[0]
        index[name] = [library, type(part).__name__ if part is not None else None]
    write_text(folder / "model_index.json", json.dumps(index, indent=2) + "\n")
    return folder


def _models(vae: str, latent_channels: int, vae_scale_factor: int, cross_attention_dim: int) -> dict[str, Any]:
    from diffusers import ControlNetModel, DDIMScheduler, MotionAdapter, UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=64 // vae_scale_factor,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,  # diffusers' name for the number of heads
        norm_num_groups=8,
    )
    levels = vae_scale_factor.bit_length() - 1
    conditioning = (8, 16, 16, 32)[: levels + 1]
    return {
        "vae": _vae(vae, latent_channels, levels),
        "unet": unet,
        "scheduler": DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        "controlnet_inpaint": ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=conditioning),
        "controlnet_tile": ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=conditioning),
        "motion_adapter": MotionAdapter(
            block_out_channels=CHANNELS,
            motion_layers_per_block=1,
            motion_num_attention_heads=4,
            motion_norm_num_groups=8,
        ),
    }


def _vae(kind: str, latent_channels: int, levels: int):
    from diffusers import AutoencoderKL, AutoencoderTiny

    if kind == "unshuffle":
        from toolkit.backbones.unshuffle import PixelUnshuffleCoder

        return PixelUnshuffleCoder(tuple(3 * 4**level for level in range(levels + 1)), latent_channels)
    if kind == "tiny":
        return AutoencoderTiny(
            encoder_block_out_channels=(8,) * (levels + 1),
            decoder_block_out_channels=(8,) * (levels + 1),
            num_encoder_blocks=(1,) * (levels + 1),
            num_decoder_blocks=(1,) * (levels + 1),
            latent_channels=latent_channels,
        )
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * (levels + 1),
        up_block_types=("UpDecoderBlock2D",) * (levels + 1),
        block_out_channels=(16, 16, 32, 32)[: levels + 1],
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=64,
    )


def _text_encoder(text: bool, width: int):
    import torch

    from toolkit.backbones.constant import ConstantTextEncoder

    if not text:
        encoder = ConstantTextEncoder(num_tokens=4, hidden_size=width)
        torch.nn.init.normal_(encoder.hidden_states)
        return encoder
    from transformers import CLIPTextConfig, CLIPTextModel

    vocabulary = _vocabulary()
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            intermediate_size=2 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            pad_token_id=vocabulary["<|endoftext|>"],
        )
    )


def _vocabulary() -> dict[str, int]:
    """CLIP's byte alphabet without merges: each character inside and at the end of a word."""
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def _tokenizer():
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=_vocabulary(), merges=[], model_max_length=77)


def _fill_zeros(module) -> None:
    """Give small random values to layers that start at zero, so that every part has an effect."""
    import torch

    for parameter in module.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
