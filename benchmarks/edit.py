"""Measures the cost of editing, next to diffusers' `AnimateDiffVideoToVideoControlNetPipeline` with FreeNoise.

    python -m benchmarks.edit [--part memory time size] [--quick] [--motion-heads N]

Prints ratios beside their limits and exits with 1 if one is missed; `--quick` only shows that everything runs. For time
and size, the models have Stable Diffusion 1.5's layout with AnimateDiff's adapter at a quarter of the width and random
weights. At 256 pixels, convolutions and spatial attention then have the shares that they have in SD 1.5 at 512. Time is
that of denoising and a narrow `AutoencoderTiny`: next to a single step, a full VAE, which costs both the same, would
dominate. A GPU is used if there is one. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from diffusers import (
    AnimateDiffVideoToVideoControlNetPipeline,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    MotionAdapter,
    UNetMotionModel,
)
from diffusers.utils import logging
from PIL import Image

from benchmarks.finetune import sd15_backbone
from toolkit.backbones import ConstantTextEncoder, load
from toolkit.device import ComputeDevice
from toolkit.diffusion import VideoEditPipeline, remove_motion_layers
from toolkit.diffusion.chunks import CHUNK
from toolkit.diffusion.context_windows import context_windows
from toolkit.testing import tiny_backbone, tiny_remover

LIMITS = {"memory": 1.15, "time": 1.0, "size": 1.3}
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler", "controlnet_tile", "motion_adapter")
SCHEDULE = {"beta_schedule": "linear", "steps_offset": 1, "clip_sample": False, "timestep_spacing": "linspace"}
OURS, FREENOISE = "ours", "freenoise"
CUDA = torch.cuda.is_available()
MEMORY_LIMIT = 12 * 2**30
"""Bytes above which FreeNoise's long run is skipped."""

WINDOW, OVERLAP, STRIDE = 16, 4, 4
"""Frames of a window, frames that two windows of ours share, and frames from one window of FreeNoise's to the next."""


# Pipelines


def editing_backbone(folder: Path, motion_heads: int, part: int = 4, **writing: Any) -> Path:
    """`sd15_backbone` with a motion adapter of AnimateDiff's layout.

    Args:
        part: of the width, as for `sd15_backbone`.
        writing: device and dtype, as for `sd15_backbone`.
    """
    sd15_backbone(folder, part, **writing)
    with torch.device(writing.get("device", "cpu")):
        adapter = MotionAdapter(
            block_out_channels=tuple(channels // part for channels in (320, 640, 1280, 1280)),
            motion_num_attention_heads=motion_heads,
            motion_norm_num_groups=32 if part == 1 else 16,
            motion_max_seq_length=32,
        )
    adapter.to(writing.get("dtype", torch.float32)).save_pretrained(folder / "motion_adapter")
    return folder


def make_pipelines(folder: Path, compute: ComputeDevice | None = None) -> dict[str, DiffusionPipeline]:
    """Both pipelines, each with its models, on the same device and in the same dtype. Ours use the toolkit's memory
    format, diffusers' torch's default."""
    backbone = load(folder, PARTS, compute)
    unet = UNetMotionModel.from_unet2d(backbone.unet, backbone.motion_adapter).eval().requires_grad_(False)
    models = {
        "vae": backbone.vae,
        "text_encoder": backbone.text_encoder,
        "tokenizer": backbone.tokenizer,
        "unet": backbone.compute.prepare(unet),
        "controlnet": backbone.controlnet_tile,
        "scheduler": DDIMScheduler.from_config(backbone.scheduler.config, **SCHEDULE),
    }
    plain = copy.deepcopy(models)
    for name in ("vae", "text_encoder", "unet", "controlnet"):
        plain[name].to(memory_format=torch.contiguous_format)
    ours = VideoEditPipeline(**models)
    freenoise = AnimateDiffVideoToVideoControlNetPipeline(motion_adapter=backbone.motion_adapter, **plain)
    freenoise.enable_free_noise(WINDOW, STRIDE)
    for pipeline in (ours, freenoise):
        pipeline.set_progress_bar_config(disable=True)
    return {OURS: ours, FREENOISE: freenoise}


def moving(count: int, side: int) -> Iterator[np.ndarray]:
    """Yield frames, uint8 ``[side, side, 3]``."""
    y, x = np.mgrid[:side, :side]
    for t in range(count):
        yield np.stack([x * 255 // side, y * 255 // side, (x + y + 3 * t) % 256], axis=2).astype(np.uint8)


def chunks(count: int, side: int, masked: bool) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The same frames in chunks for `VideoEditPipeline.stream`, with a square mask if `masked`."""
    frames = moving(count, side)
    for start in range(0, count, CHUNK):
        pictures = np.stack([next(frames) for _ in range(min(CHUNK, count - start))])
        masks = np.zeros(pictures.shape[:3], bool)
        masks[:, side // 4 : side // 2, side // 4 : -side // 4] = True
        yield pictures, masks if masked else None


def edit(pipelines: dict[str, DiffusionPipeline], kind: str, count: int, side: int, steps: int, masked: bool) -> None:
    """Run a pipeline with all steps at guidance 1, from pictures to pictures."""
    generator = torch.Generator().manual_seed(0)
    settings = {"num_inference_steps": steps, "strength": 1.0, "guidance_scale": 1.0, "generator": generator}
    if kind == OURS:
        windows = {"context_length": WINDOW, "context_overlap": OVERLAP}
        normalisation = "ion" if masked else "none"
        made = pipelines[kind].stream(chunks(count, side, masked), **settings, **windows, normalisation=normalisation)
        done = sum(len(frames) for frames in made)
    else:
        pictures = [Image.fromarray(frame) for frame in moving(count, side)]
        made = pipelines[kind](
            video=pictures, conditioning_frames=pictures, prompt="", height=side, width=side, **settings
        )
        done = len(made.frames[0])
    if done != count:
        raise SystemExit(f"expected {count} frames from {kind}, found {done}")


# Memory


def resident() -> tuple[int, int]:
    """Bytes of this process's resident set, now and at its peak."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage also counts the parent's memory at the time of the fork
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024, int(lines["VmHWM"].split()[0]) * 1024
    return psutil.Process().memory_info().rss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peaks(kind: str, folder: str, frames: str, side: str, device: str) -> dict[str, int]:
    """Peak bytes of a run: above the level before it, and in all; on a GPU as torch counts them."""
    torch.set_num_threads(1)
    pipelines = make_pipelines(Path(folder), ComputeDevice(device, "float32", channels_last=False))
    pipelines = {kind: pipelines[kind]}  # free the other one's models
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else resident()[0]
    edit(pipelines, kind, int(frames), int(side), steps=2, masked=kind == OURS)
    peak = torch.cuda.max_memory_allocated() if on_gpu else resident()[1]
    return {"above": peak - before, "peak": peak}


def child_peaks(*arguments: object) -> dict[str, int]:
    """`peaks` in a separate process."""
    names = [str(argument) for argument in arguments]
    code = f"import json, benchmarks.edit as b; print(chr(10) + json.dumps(b.peaks(*{names!r})))"
    # Return freed tensors at once, so the peak is the memory in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def memory(quick: bool) -> bool:
    """Print the peaks for a short and a long clip; returns whether the limit is missed."""
    short, long, side = (32, 48, 32) if quick else (64, 512, 128)
    missed = False
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor() as pool:
        folder = tiny_backbone(Path(work) / "backbone")
        for device in ("cpu", "cuda") if CUDA else ("cpu",):
            runs = ((OURS, short), (OURS, long), (FREENOISE, short))
            few, many, other = pool.map(
                lambda run, device=device: child_peaks(run[0], folder, run[1], side, device), runs
            )
            note = f"peak memory on {device} of {long} frames / {short} of {side} pixels"
            missed |= show("memory", max(many[name] / few[name] for name in few), f"{note}: {_grown(few, many)}")
            needed = other["above"] * long / short
            if needed > MEMORY_LIMIT:
                print(f"{'':14}FreeNoise: skipped, {long} frames need about {needed / 2**30:.0f} GiB", flush=True)
                continue
            more = child_peaks(FREENOISE, folder, long, side, device)
            print(f"{'':14}FreeNoise: {_grown(other, more)}", flush=True)
    return missed


def _grown(few: dict[str, int], many: dict[str, int]) -> str:
    words = []
    for name, meaning in (("above", "above the models"), ("peak", "in all")):
        words.append(f"{meaning} {many[name] / few[name]:.2f} ({many[name] / 2**20:.0f} / {few[name] / 2**20:.0f} MiB)")
    return ", ".join(words)


# Time


def clock() -> float:
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def durations(
    pipelines: dict[str, DiffusionPipeline], count: int, side: int, steps: int, rounds: int
) -> dict[str, float]:
    """Median seconds of whole runs; the two alternate."""
    times: dict[str, list[float]] = {kind: [] for kind in pipelines}
    for kind in pipelines:
        edit(pipelines, kind, WINDOW, side, 1, masked=False)  # libraries prepare things once
    for _ in range(rounds):
        for kind in pipelines:
            begun = clock()
            edit(pipelines, kind, count, side, steps, masked=False)
            times[kind].append(clock() - begun)
    return {kind: statistics.median(seconds) for kind, seconds in times.items()}


def multiplications(count: int, size: int, removed: bool) -> float:
    """Multiplications of a step, ours / FreeNoise's, for SD 1.5 and AnimateDiff; counted without computing."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        unet = UNetMotionModel(
            cross_attention_dim=768, motion_num_attention_heads=8, num_attention_heads=8, motion_max_seq_length=32
        )
        controlnet = ControlNetModel(cross_attention_dim=768)
        vae = AutoencoderTiny()
        text_encoder = ConstantTextEncoder(num_tokens=77, hidden_size=768)
    if removed:
        remove_motion_layers(unet)

    def flops(frames: int) -> tuple[int, int]:
        """FLOPs of the ControlNet and of the UNet."""
        cells = size // 8
        latents = torch.zeros(frames, 4, cells, cells, device="meta")
        states = torch.zeros(frames, 77, 768, device="meta")
        timestep = torch.zeros(1, device="meta")
        hint = torch.zeros(frames, 3, size, size, device="meta")
        with torch.no_grad(), FlopCounterMode(display=False) as of_control:
            down, mid = controlnet(latents, timestep, states, hint, return_dict=False)
        with torch.no_grad(), FlopCounterMode(display=False) as of_unet:
            unet(
                latents.transpose(0, 1)[None],
                timestep,
                states,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
            )
        return of_control.get_total_flops(), of_unet.get_total_flops()

    control, plain = flops(WINDOW)
    # Our ControlNet sees every frame once.
    ours = control * count / WINDOW + plain * len(context_windows(count, WINDOW, OVERLAP))
    pipeline = AnimateDiffVideoToVideoControlNetPipeline(
        vae, text_encoder, None, unet, MotionAdapter(), controlnet, DDIMScheduler()
    )
    with torch.device("meta"):
        pipeline.enable_free_noise(WINDOW, STRIDE)
    # Each further STRIDE frames cost FreeNoise the same.
    first, more = control + plain, sum(flops(WINDOW + STRIDE)) - control - plain
    return ours / (first + (count - WINDOW) // STRIDE * more)


def duration(quick: bool, motion_heads: int) -> bool:
    """Print the time per frame, ours / FreeNoise's; returns whether the limit is missed."""
    count, side, steps, rounds = (20, 64, 1, 1) if quick else (128, 256, 1, 2)
    missed = False
    with tempfile.TemporaryDirectory() as work:
        folder = editing_backbone(Path(work) / "backbone", motion_heads)
        # At so few steps a full VAE, which costs both the same, would dominate.
        narrow = (16,) * 4
        AutoencoderTiny(encoder_block_out_channels=narrow, decoder_block_out_channels=narrow).save_pretrained(
            folder / "vae"
        )
        pipelines = make_pipelines(folder)
        for removed in (False, True):
            if removed:
                for pipeline in pipelines.values():
                    remove_motion_layers(pipeline.unet)
            seconds = durations(pipelines, count, side, steps, rounds)
            layers = "five motion layers removed" if removed else "all motion layers"
            per_frame = " / ".join(f"{1000 * seconds[kind] / count:.0f}" for kind in (OURS, FREENOISE))
            missed |= show(
                "time",
                seconds[OURS] / seconds[FREENOISE],
                f"time per frame / FreeNoise's ({per_frame} ms), {layers}, {count} frames of {side} pixels in "
                f"{steps} step; multiplications of a step in SD 1.5 at 512: {multiplications(count, 512, removed):.2f}",
            )
    return missed


# Size


def sample_videos(folder: Path, frames: int) -> dict[str, Path]:
    """A face of the same size in 512x512 and in 1920x1080 with a moving background."""
    import cv2

    from toolkit.testing.sample import FPS, sample_frames, write_sample_video
    from toolkit.video import VideoWriter

    folder.mkdir()
    noise = np.random.default_rng(0).uniform(60, 200, (34, 61, 3)).astype(np.float32)
    background = cv2.resize(noise, (1920, 1080), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    paths = {"512": folder / "512.mp4", "1080p": folder / "1080p.mp4"}
    write_sample_video(paths["512"], frames)
    with VideoWriter(paths["1080p"], fps=FPS) as writer:
        for index, frame in enumerate(sample_frames(frames)):
            picture = np.roll(background, 2 * index, axis=1)
            picture[284:796, 704:1216] = frame
            writer.write(picture)
    return paths


def timed_edit(source: Path, target: Path, remover: Path, backbone: Path, steps: int) -> tuple[float, int]:
    """Seconds of a whole edit, and the number of edited frames: all with a face, since no masks are used."""
    from toolkit.edit import EditConfig, edit_video

    config = EditConfig(
        remover=[remover],
        backbone=str(backbone),
        denoising={"num_inference_steps": steps},
        masking={"masks": "off", "normalisation": "none", "composite": "crop", "min_change": 0.0},
        seed=0,
    )
    begun = clock()
    report = edit_video(source, target, config)
    return clock() - begun, sum(frame.status == "edited" for frame in report.frames)


def size(quick: bool, motion_heads: int) -> bool:
    """Print the cost of a 1080p video / of a 512-pixel one; returns whether the limit is missed."""
    frames, resolution, steps = (8, 64, 1) if quick else (64, 256, 2)
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        backbone = editing_backbone(folder / "backbone", motion_heads)
        remover = tiny_remover(folder / "remover", backbone, resolution=resolution)
        videos = sample_videos(folder / "videos", frames)
        warmup = sample_videos(folder / "warmup", 4)
        timed_edit(warmup["512"], folder / "warmup.mp4", remover, backbone, 1)  # libraries prepare things once
        for name, source in videos.items():
            times[name], edited = timed_edit(source, folder / f"{name}.mp4", remover, backbone, steps)
            if edited != frames:
                raise SystemExit(f"expected all {frames} frames of the {name} video to be edited, found {edited}")
    return show(
        "size",
        times["1080p"] / times["512"],
        f"a 1080p video / a 512-pixel one of the same face ({times['1080p']:.1f} / {times['512']:.1f} s), "
        f"{frames} frames, edited at {resolution} pixels in {steps} steps",
    )


def show(name: str, value: float, note: str) -> bool:
    good = value <= LIMITS[name]
    print(f"{name:6} {value:6.2f}  (at most {LIMITS[name]})  {'ok' if good else 'MISSED'}  {note}", flush=True)
    return not good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=LIMITS, default=list(LIMITS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, whose ratios mean nothing")
    parser.add_argument(
        "--motion-heads", type=int, default=8, help="heads of the motion adapter; 2 make them as wide as SD 1.5's"
    )
    args = parser.parse_args()
    logging.set_verbosity_error()
    missed = False
    if "memory" in args.part:
        missed |= memory(args.quick)
    if "time" in args.part:
        missed |= duration(args.quick, args.motion_heads)
    if "size" in args.part:
        missed |= size(args.quick, args.motion_heads)
    return int(missed and not args.quick)


if __name__ == "__main__":
    sys.exit(main())
