"""Measure the cost of cross-frame attention at Stable Diffusion 1.5's size, with random weights.

    python -m benchmarks.cross_frame [--size PIXELS] [--frames N] [--only step memory]

Prints the ratios of time and memory with their limits, and the same ratios for joint attention over all frames. Exits
with 1 if a limit is exceeded. Run it on an idle machine. It uses a GPU if available; a CPU with 12 GB of memory needs a
few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import torch

from toolkit.backbones import ConstantTextEncoder
from toolkit.diffusion import VideoInpaintPipeline

LIMITS = {"step": 1.3, "memory": 1.1}
BATCH = 4
"""Frames that go through the models together."""

JOINT = "joint"
CUDA = torch.cuda.is_available()


def make_pipeline(widths: tuple[int, ...] = (320, 640, 1280, 1280)) -> VideoInpaintPipeline:
    """Create a UNet and a ControlNet of Stable Diffusion 1.5's size. The VAE is small, because steps do not use it."""
    from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel

    def random(model: torch.nn.Module) -> torch.nn.Module:
        model = model.to_empty(device="cuda" if CUDA else "cpu").eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        return model.half() if CUDA else model

    torch.set_num_threads(1)  # makes CPU time and memory independent of other programs
    torch.manual_seed(0)
    with torch.device("meta"):  # the default initialisation of a billion weights takes longer than the measurement
        unet = UNet2DConditionModel(block_out_channels=widths, cross_attention_dim=768)
        controlnet = ControlNetModel(block_out_channels=widths, cross_attention_dim=768)
        vae = AutoencoderTiny()
        text_encoder = ConstantTextEncoder(num_tokens=77, hidden_size=768)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    pipeline = VideoInpaintPipeline(
        random(vae), random(text_encoder), None, random(unet), random(controlnet), scheduler
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def inpaint(pipeline: VideoInpaintPipeline, frames: int, size: int, references: str | None, **settings: Any) -> None:
    """Inpaint a square in random frames. `references` may be `JOINT`: joint attention over all frames."""
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (frames, size, size, 3), np.uint8)
    masks = np.zeros((frames, size, size), bool)
    masks[:, size // 4 : size // 2, size // 4 : -size // 4] = True
    pipeline(
        clip,
        masks,
        shared_noise="seed",
        reference_frames=f"uniform:{frames}" if references == JOINT else references,
        frame_batch_size=BATCH,
        generator=torch.Generator().manual_seed(0),
        output_type="uint8",
        **settings,
    )


def clock() -> float:
    """Seconds of GPU time, or of CPU time, which other programs hardly affect."""
    if not CUDA:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def step_seconds(
    frames: int, size: int, rounds: int = 2, kinds: tuple[str, ...] = ("plain", "references", JOINT), **shape: Any
) -> dict[str, float]:
    """Time the fastest step of each kind of attention, in alternating rounds. Guidance is off; it doubles all times.

    Args:
        shape: of the networks, as for `make_pipeline`.
    """
    pipeline = make_pipeline(**shape)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}

    for _ in range(rounds):
        for kind, times in seconds.items():
            ends = []

            def note(pipe, step, timestep, tensors, ends=ends):
                ends.append(clock())
                return {}

            references = {"plain": None, "references": "first+middle", JOINT: JOINT}[kind]
            inpaint(pipeline, frames, size, references, num_inference_steps=2, callback_on_step_end=note)
            times.append(ends[1] - ends[0])
    return {kind: min(times) for kind, times in seconds.items()}


@contextmanager
def recorded(peaks: list[int]) -> Iterator[None]:
    """Append the peak memory that the process allocates during the block, in bytes."""
    if CUDA:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        yield
        peaks.append(torch.cuda.max_memory_allocated() - before)
        return
    process, done, held = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def sample() -> None:
        while not done.wait(0.002):
            held[0] = max(held[0], process.memory_info().rss - before)

    thread = threading.Thread(target=sample)
    thread.start()
    yield
    done.set()
    thread.join()
    peaks.append(held[0])


def peak(frames: str, size: str, references: str) -> int:
    """Peak memory of a run in bytes, without the models."""
    pipeline, peaks = make_pipeline(), []
    inpaint(pipeline, 1, 64, None, num_inference_steps=1)  # libraries keep some memory after their first use
    with recorded(peaks):
        inpaint(pipeline, int(frames), int(size), references, num_inference_steps=1)
    return peaks[0]


def child_peak(*arguments: object) -> int:
    """Run `peak` in a separate process."""
    names = [str(argument) for argument in arguments]
    code = f"import json, benchmarks.cross_frame as b; print(chr(10) + json.dumps(b.peak(*{names!r})))"
    # Return freed tensors to the system at once, so that the peak counts only memory in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512 if CUDA else 256, help="side of the frames in pixels")
    parser.add_argument("--frames", type=int, default=16 if CUDA else 8, help="frames in the clip")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="ratios to measure")
    args = parser.parse_args()
    missed = False

    def show(name: str, value: float, note: str) -> None:
        nonlocal missed
        good = value <= LIMITS[name]
        missed |= not good
        print(f"{name:7} {value:6.2f}  (limit {LIMITS[name]})  {'ok' if good else 'MISSED'}  {note}", flush=True)

    clip = f"{args.frames} frames of {args.size}x{args.size}"
    if "step" in args.only:
        seconds = step_seconds(args.frames, args.size)
        plain, joint = seconds["plain"], seconds[JOINT]
        note = f"a step with 2 references / with plain self-attention ({plain:.2f} s), {clip}"
        show("step", seconds["references"] / plain, f"{note}; joint attention over all frames: {joint / plain:.2f}")
    if "memory" in args.only:
        peaks = {}
        for kind in ("first+middle", JOINT):
            peaks[kind] = [child_peak(n, args.size, kind) for n in (args.frames, 2 * args.frames)]
        (short, long), (joint_short, joint_long) = peaks["first+middle"], peaks[JOINT]
        note = f"peak memory beyond the models, {2 * args.frames} / {args.frames} frames ({short / 2**20:.0f} MiB)"
        show(
            "memory",
            long / short,
            f"{note}; joint attention: {joint_long / joint_short:.2f} ({joint_short / 2**20:.0f} MiB)",
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
