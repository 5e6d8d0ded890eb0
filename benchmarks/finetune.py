"""Compares finetuning with a plain loop that does the work of diffusers' `train_controlnet.py`.

    python -m benchmarks.finetune [--resolution PIXELS] [--batch N] [--steps N] [--only speed memory]

The models have Stable Diffusion 1.5's layout at a quarter of its width, with random weights. At 256 pixels the VAE's
encoder then costs 1.36 times as much as a pass of the UNet, as in SD 1.5 at 512 (1.39; both are counted and printed).
At every step the plain loop reads the pictures, and encodes them with the VAE and their prompts with the text encoder.
The two trainings take turns, step by step, in one process. Exits with 1 if a limit is missed. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.nn import functional as F

from toolkit.backbones import load
from toolkit.device import choose_device
from toolkit.finetune import FinetuneConfig, FinetuneObserver, finetune
from toolkit.testing import drawn_dataset, tiny_backbone

LIMITS = {"speed": 1.8, "memory": 1.05}
CUDA = torch.cuda.is_available()
TEXT_WIDTH = 192


def quarter_backbone(folder: Path) -> Path:
    """Write a backbone with SD 1.5's layout at a quarter of its width, in diffusers' folders.

    The text encoder has three of twelve layers, so its share of the cost stays as small as in SD 1.5.
    """
    return sd15_backbone(folder, 4)


def sd15_backbone(folder: Path, part: int = 1, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Path:
    """Write a backbone with SD 1.5's layout and random weights, in diffusers' folders.

    Args:
        folder: for the backbone.
        part: the networks have this part of SD 1.5's width: 1, 2 or 4.
        device: where weights are drawn.
        dtype: in which they are written.
    """
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tiny_backbone(folder)  # its tokenizer and scheduler
    torch.manual_seed(0)
    width, groups = 768 // part, 32 if part == 1 else 16
    tokens = json.loads((folder / "text_encoder" / "config.json").read_text())
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=32,
            block_out_channels=tuple(channels // part for channels in (320, 640, 1280, 1280)),
            cross_attention_dim=width,
            attention_head_dim=8 // part,  # diffusers' name for the number of heads; each is as wide as SD 1.5's
            norm_num_groups=groups,
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=tuple(channels // part for channels in (128, 256, 512, 512)),
            layers_per_block=2,
            norm_num_groups=groups,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=width,
                intermediate_size=4 * width,
                projection_dim=width,
                num_hidden_layers=12 // part,
                num_attention_heads=12,
                **{key: tokens[key] for key in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")},
            )
        )
        hints = tuple(channels // part for channels in (16, 32, 96, 256))
        tile = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hints)
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "controlnet_tile": tile}
    for name, network in parts.items():
        network.to(dtype).save_pretrained(folder / name)
    return folder


def macs() -> dict[str, float]:
    """Multiplications of the VAE's encoder divided by those of a UNet pass, counted without running them."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    def flops(call: Callable[[], object]) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        return counter.get_total_flops()

    ratios = {}
    for name, widths, coder, text, groups, size in (
        ("quarter", (80, 160, 320, 320), (32, 64, 128, 128), TEXT_WIDTH, 16, 256),
        ("sd15", (320, 640, 1280, 1280), (128, 256, 512, 512), 768, 32, 512),
    ):
        with torch.device("meta"):
            unet = UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=text, norm_num_groups=groups)
            vae = AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                block_out_channels=coder,
                layers_per_block=2,
                norm_num_groups=groups,
            )
            latents, picture = torch.zeros(1, 4, size // 8, size // 8), torch.zeros(1, 3, size, size)
            states, timestep = torch.zeros(1, 77, text), torch.zeros(1)
        encoder = flops(lambda vae=vae, picture=picture: vae.encode(picture))
        one_pass = flops(lambda unet=unet, args=(latents, timestep, states): unet(*args))
        ratios[name] = encoder / one_pass
    return ratios


class PlainLoop:
    """Training steps as in `train_controlnet.py`, in torch's default memory format."""

    def __init__(self, data: Path, backbone: Path, resolution: int, batch: int):
        from datasets import load_dataset
        from diffusers import DDPMScheduler
        from torchvision import transforms

        # The script's default number format, on any device.
        parts = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_tile")
        loaded = load(backbone, parts, choose_device(None, "float32"))
        self.parts = loaded
        for model in (loaded.vae, loaded.unet, loaded.text_encoder, loaded.controlnet_tile):
            model.to(memory_format=torch.contiguous_format)
        self.controlnet = loaded.controlnet_tile.requires_grad_(True).train()
        self.scheduler = DDPMScheduler.from_config(loaded.scheduler.config)
        self.optimizer = torch.optim.AdamW(self.controlnet.parameters(), lr=1e-5, weight_decay=1e-2)
        crop = [transforms.Resize(resolution), transforms.CenterCrop(resolution), transforms.ToTensor()]
        target = transforms.Compose([*crop, transforms.Normalize([0.5], [0.5])])
        hint = transforms.Compose(crop)

        def prepare(rows: dict) -> dict:
            ids = loaded.tokenizer(
                rows["text"], max_length=77, padding="max_length", truncation=True, return_tensors="pt"
            ).input_ids
            return {
                "pixels": [target(image.convert("RGB")) for image in rows["image"]],
                "hints": [hint(image.convert("RGB")) for image in rows["conditioning_image"]],
                "ids": list(ids),
            }

        rows = load_dataset(str(data), split="train").with_transform(prepare)
        self.loader = torch.utils.data.DataLoader(rows, batch_size=batch, shuffle=True, num_workers=0, drop_last=True)
        self._batches = self._endless()

    def _endless(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from self.loader

    def step(self) -> None:
        parts, device = self.parts, self.parts.compute.device
        batch = {name: values.to(device) for name, values in next(self._batches).items()}
        with torch.no_grad():
            latents = parts.vae.encode(batch["pixels"]).latent_dist.sample() * parts.vae.config.scaling_factor
            states = parts.text_encoder(batch["ids"], return_dict=False)[0]
        noise = torch.randn_like(latents)
        timesteps = torch.randint(0, self.scheduler.config.num_train_timesteps, (len(latents),), device=device)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        down, mid = self.controlnet(
            noisy, timesteps, encoder_hidden_states=states, controlnet_cond=batch["hints"], return_dict=False
        )
        predicted = parts.unet(
            noisy,
            timesteps,
            encoder_hidden_states=states,
            down_block_additional_residuals=list(down),
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0]
        F.mse_loss(predicted.float(), noise.float(), reduction="mean").backward()
        torch.nn.utils.clip_grad_norm_(self.controlnet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if CUDA:
            torch.cuda.synchronize()


class TakingTurns(FinetuneObserver):
    """Runs a step of the plain loop after every step of the finetuning, and records the seconds of both."""

    def __init__(self, plain: PlainLoop):
        self._plain = plain
        self.ours: list[float] = []
        self.plain: list[float] = []
        self._begun = 0.0

    def advance(self, done: int, **figures: float) -> None:
        if "loss" not in figures:  # pictures are being encoded
            return
        now = time.perf_counter()
        self._plain.step()
        after = time.perf_counter()
        if done > 1:  # the first steps of both fill caches
            self.ours.append(now - self._begun)
            self.plain.append(after - now)
        self._begun = time.perf_counter()


def training(
    data: Path,
    backbone: Path,
    output: Path,
    resolution: int,
    steps: int,
    batch: int,
    torch_compile: bool = False,
    check: bool = False,
) -> FinetuneConfig:
    """Settings of a training without intermediate validation and without extras."""
    return FinetuneConfig(
        data=[data],
        output=output,
        backbone=str(backbone),
        resolution=resolution,
        max_train_steps=steps,
        checkpointing_steps=10**6,
        report_to="none",
        check=check,
        optimisation={"train_batch_size": batch, "torch_compile": torch_compile},
        validation={"validation_steps": 10**6, "validation_samples": 1, "num_inference_steps": 1},
    )


def speed(
    resolution: int, batch: int, steps: int, torch_compile: bool, backbone: Path | None = None
) -> tuple[float, float]:
    """Median seconds per step of the finetuning and of the plain loop, on `quarter_backbone` if no other is given."""
    with tempfile.TemporaryDirectory() as work:
        os.environ.setdefault("HF_DATASETS_CACHE", str(Path(work) / "cache"))
        backbone = backbone or quarter_backbone(Path(work) / "backbone")
        data = drawn_dataset(Path(work) / "data", resolution=resolution, frames=max(4, batch))
        turns = TakingTurns(PlainLoop(data, backbone, resolution, batch))
        output = Path(work) / "remover"
        finetune(training(data, backbone, output, resolution, steps + 1, batch, torch_compile), turns)
    return statistics.median(turns.ours), statistics.median(turns.plain)


def peak(frames: str, work: str) -> int:
    """Peak memory in bytes of a short training on a dataset of 6 clips with `frames` frames each."""
    data = drawn_dataset(Path(work) / f"data-{frames}", frames=int(frames))
    finetune(training(data, Path(work) / "backbone", Path(work) / f"remover-{frames}", 64, 20, 4, check=True))
    status = Path("/proc/self/status")
    if status.exists():  # getrusage includes the parent's memory at the fork
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory(short: int, long: int) -> tuple[int, int]:
    """`peak` for two lengths, each in a new process."""
    with tempfile.TemporaryDirectory() as work:
        tiny_backbone(Path(work) / "backbone")
        peaks = []
        for frames in (short, long):
            code = f"import benchmarks.finetune as b; print(chr(10) + str(b.peak('{frames}', {work!r})))"
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "MALLOC_TRIM_THRESHOLD_": "262144"}
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr)
            peaks.append(int(done.stdout.splitlines()[-1]))
    return peaks[0], peaks[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--batch", type=int, default=8, help="pairs per step")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--torch-compile", action="store_true", help="compile the models of the finetuning")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS))
    args = parser.parse_args()
    missed = False
    if "speed" in args.only:
        ours, plain = speed(args.resolution, args.batch, args.steps, args.torch_compile)
        missed |= plain / ours < LIMITS["speed"]
        costs = macs()
        print(
            f"speed   {plain / ours:6.2f}  (at least {LIMITS['speed']})  steps per second / plain loop's "
            f"({1 / ours:.3f} / {1 / plain:.3f}), {args.batch} pictures of {args.resolution}; VAE encoder / UNet pass "
            f"{costs['quarter']:.2f} in multiplications at 256 pixels, SD 1.5 at 512: {costs['sd15']:.2f}",
            flush=True,
        )
    if "memory" in args.only:
        few, many = memory(50, 800)
        missed |= many / few > LIMITS["memory"]
        print(
            f"memory  {many / few:6.2f}  (at most {LIMITS['memory']})  peak memory of training on 3,200 pairs / 200 "
            f"({few / 2**20:.0f} MiB)",
            flush=True,
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
