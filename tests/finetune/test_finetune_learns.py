"""A small model, trained for a few minutes on a CPU, removes real stickers from people that it has not seen."""

import json
import os

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler, DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F

from toolkit.backbones import load
from toolkit.finetune import FinetuneConfig, finetune
from toolkit.finetune.datasets import held_out, open_datasets
from toolkit.synthesis.build import build_dataset
from toolkit.synthesis.config import BuildConfig
from toolkit.testing import tiny_backbone

pytestmark = pytest.mark.slow

SIDE, PRETRAINING, STEPS = 64, 800, 1500


@pytest.fixture
def threads():
    """Use all cores for torch; the suite limits each process to one."""
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    yield
    torch.set_num_threads(before)


@pytest.fixture
def dataset(shared, tmp_path):
    """Large stickers on all real clips, a fifth of the people held out."""
    config = BuildConfig(
        task="stickers",
        options={"size": (0.7, 0.9), "degradation": 0.0},
        videos=[shared("media/faces")],
        output=tmp_path / "dataset",
        resolution=SIDE,
        crop_scale=1.3,
        clip_length=16,
        max_clips=4,
        validation_fraction=0.2,
        allow_failures=True,
    )
    return build_dataset(config).output


@pytest.fixture
def backbone(dataset, tmp_path, threads):
    """A UNet and a tile ControlNet that have learned to reproduce the hint, as SD 1.5 and its tile ControlNet do."""
    folder = tiny_backbone(tmp_path / "backbone", vae="unshuffle", vae_scale_factor=2, text=False)
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=12,
        out_channels=12,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    ).to(memory_format=torch.channels_last)
    tile = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(32, 64))
    tile = tile.to(memory_format=torch.channels_last)
    settings = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    scheduler = DDPMScheduler.from_config(settings, prediction_type="sample")
    frozen = load(folder, ("vae", "text_encoder"))
    frames = [
        sample.picture("image")
        for number, sample in enumerate(open_datasets([dataset], SIDE)[0].samples("train"))
        if number % 4 == 0
    ]
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    states = frozen.text_encoder(None)[0].expand(8, -1, -1)
    parameters = [*unet.parameters(), *tile.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, fused=True)
    for step in range(PRETRAINING):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 50) * max(0.02, 1 - step / PRETRAINING)
        picture = pixels[torch.randint(len(pixels), (8,))]
        latents = frozen.vae.encode(picture).latents * frozen.vae.config.scaling_factor
        noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (8,))
        noisy = scheduler.add_noise(latents, noise, timesteps)
        down, mid = tile(noisy, timesteps, states, (picture + 1) / 2, return_dict=False)
        predicted = unet(
            noisy, timesteps, states, down_block_additional_residuals=down, mid_block_additional_residual=mid
        ).sample
        F.mse_loss(predicted, latents).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    unet.save_pretrained(folder / "unet")
    tile.save_pretrained(folder / "controlnet_tile")
    DDIMScheduler.from_config(settings, prediction_type="sample").save_pretrained(folder / "scheduler")
    return folder


def test_error_inside_the_mask_falls_on_people_not_seen(dataset, backbone, tmp_path):
    config = FinetuneConfig(
        data=[dataset],
        output=tmp_path / "remover",
        backbone=str(backbone),
        max_train_steps=STEPS,
        report_to="none",
        cpu=True,
        check=False,
        optimisation={"learning_rate": 2e-3},
        loss={"mask_weight": 8},
        validation={"validation_steps": 300, "validation_samples": 24, "num_inference_steps": 4},
    )
    report = finetune(config)
    before, after = report.history[0], report.figures
    # Against the unedited frames, by arithmetic of its own.
    unedited = []
    for _, sample in held_out(open_datasets([dataset], SIDE), 24):
        one, other, mask = (sample.picture(name) for name in ("image", "conditioning_image", "mask"))
        error = np.sqrt(np.mean((one.astype(float) - other)[mask] ** 2))
        unedited.append(20 * np.log10(255 / error))
    assert abs(before["removal"]) < 0.1  # the tile ControlNet gives the sticker back
    assert after["removal"] > 0.15
    assert after["psnr_inside"] > np.mean(unedited) + 1
    assert after["psnr_outside"] > before["psnr_outside"] - 1
    print(f"unedited {np.mean(unedited):.1f} dB, {after}")
