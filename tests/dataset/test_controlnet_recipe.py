"""diffusers' `train_controlnet.py` trains on an image folder: its use of columns here, the script itself on request."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.dataset.reader import read_samples
from toolkit.testing.drawn_dataset import drawn_dataset

SCRIPT = os.environ.get("TOOLKIT_TRAIN_CONTROLNET")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A Stable Diffusion of a few thousand random weights, in the folders that the script expects."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    root = tmp_path_factory.mktemp("sd")
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghij")]
    (root / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (root / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    tokenizer = CLIPTokenizer(str(root / "vocab.json"), str(root / "merges.txt"), model_max_length=77)
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    pipeline = StableDiffusionPipeline(
        vae,
        text,
        tokenizer,
        unet,
        scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(root / "sd")
    return root / "sd"


def test_a_training_step_of_a_controlnet_uses_the_columns_as_they_are(originals, offline, parts):
    """One optimiser step of a real ControlNetModel on what the script's preprocessing makes of the dataset."""
    import torch
    from datasets import load_dataset
    from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, UNet2DConditionModel
    from torchvision import transforms
    from transformers import AutoTokenizer, CLIPTextModel, PretrainedConfig

    assert PretrainedConfig.from_pretrained(parts, subfolder="text_encoder").architectures == ["CLIPTextModel"]
    train = load_dataset(str(originals["imagefolder"]), cache_dir=str(offline))["train"]
    to_tensor = [transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()]
    target, condition = (
        transforms.Compose([*to_tensor, transforms.Normalize([0.5], [0.5])]),
        transforms.Compose(to_tensor),
    )
    tokenizer = AutoTokenizer.from_pretrained(parts, subfolder="tokenizer", use_fast=False)

    def preprocess(rows):
        ids = tokenizer(
            rows["text"], max_length=77, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return {
            "pixel_values": [target(image.convert("RGB")) for image in rows["image"]],
            "conditioning_pixel_values": [condition(image.convert("RGB")) for image in rows["conditioning_image"]],
            "input_ids": list(ids),
        }

    rows = train.with_transform(preprocess)[:4]
    pixels, conditions, ids = (
        torch.stack(rows[name]) for name in ("pixel_values", "conditioning_pixel_values", "input_ids")
    )
    assert pixels.shape == conditions.shape == (4, 3, 64, 64)
    assert pixels.min() < -0.5 and conditions.min() >= 0
    assert not torch.equal(pixels / 2 + 0.5, conditions)

    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_pretrained(parts, subfolder="unet").requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(parts, subfolder="vae").requires_grad_(False)
    text = CLIPTextModel.from_pretrained(parts, subfolder="text_encoder").requires_grad_(False)
    scheduler = DDPMScheduler.from_pretrained(parts, subfolder="scheduler")
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 4, 8, 8)).train()
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-3)
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
        states = text(ids).last_hidden_state
    noise, steps = torch.randn_like(latents), torch.randint(0, 1000, (4,))
    noisy = scheduler.add_noise(latents, noise, steps)

    def loss():
        down, mid = controlnet(
            noisy, steps, encoder_hidden_states=states, controlnet_cond=conditions, return_dict=False
        )
        predicted = unet(
            noisy,
            steps,
            encoder_hidden_states=states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample
        return torch.nn.functional.mse_loss(predicted, noise)

    before = loss()
    before.backward()
    optimizer.step()
    assert torch.isfinite(before)
    assert loss() < before


def test_the_script_sees_the_dataset_that_it_is_given(tmp_path, offline):
    """Its two ways to load a folder, after another dataset of this name was loaded."""
    import numpy as np
    from datasets import load_dataset

    for task in ("glasses", "stickers"):
        folder = drawn_dataset(tmp_path / task / "dataset", task=task, frames=1)
        expected = {sample.row["clip_id"]: sample for sample in read_samples(folder, "train")}
        for arguments in ({"path": str(folder)}, {"path": "imagefolder", "data_dir": str(folder)}):
            rows = load_dataset(**arguments, cache_dir=str(offline))["train"]
            assert {"conditioning_image", "image", "text"} <= set(rows.column_names)
            assert {row["clip_id"] for row in rows} == set(expected)
            for row in rows:
                sample = expected[row["clip_id"]]
                assert row["text"] == sample.row["text"]
                for name in ("conditioning_image", "image"):
                    assert np.array_equal(np.asarray(row[name]), sample.picture(name))


@pytest.mark.skipif(
    not SCRIPT, reason="set TOOLKIT_TRAIN_CONTROLNET to diffusers' examples/controlnet/train_controlnet.py"
)
def test_the_script_itself_trains_two_steps(originals, parts, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "ACCELERATE_USE_CPU": "true"}
    ended = subprocess.run(
        [
            sys.executable,
            str(Path(SCRIPT).resolve()),
            f"--pretrained_model_name_or_path={parts}",
            f"--train_data_dir={originals['imagefolder']}",
            f"--output_dir={tmp_path / 'controlnet'}",
            "--resolution=64",
            "--train_batch_size=2",
            "--max_train_steps=2",
            "--learning_rate=1e-4",
        ],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (tmp_path / "controlnet" / "diffusion_pytorch_model.safetensors").is_file()
