"""Find the fastest dtype and memory format for diffusion models on this machine's devices.

    python -m benchmarks.device [--device NAME ...] [--size PIXELS] [--frames N] [--rounds N]

Times a UNet and a VAE decoder of Stable Diffusion 1.5's layout at a fifth of its width, with random weights, in every
dtype and memory format of `toolkit.device`. The settings alternate in each round, so that other load affects all
alike. The table shows the ratio of each median to the fastest one, and the error of the UNet's output against float32.
Exits with 1 if the setting chosen by `choose_device` takes over 1.15 times as long as the fastest. Run it on an idle
machine. On a GPU, use ``--size 512 --frames 8`` to occupy it fully.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import diffusers.utils.logging
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from toolkit.cli.console import out, print_table
from toolkit.device import DTYPES, ComputeDevice, available_devices, choose_device
from toolkit.errors import UsageError

HOPELESS = 8
"""Settings whose first round takes this many times as long as the fastest one are not measured further."""

LIMIT = 1.15
"""Largest allowed ratio of the chosen setting's time to the fastest one's."""


def models() -> tuple[UNet2DConditionModel, AutoencoderKL]:
    """Create models of SD 1.5's layout at a fifth of its width, always with the same random weights."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(64, 128, 256, 256), cross_attention_dim=160, attention_head_dim=8, sample_size=64
    )
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
    )
    return unet.eval().requires_grad_(False), vae.eval().requires_grad_(False)


def seconds(device: str, call: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Time a call until the device has finished. Also returns its result."""
    backend = {"cuda": torch.cuda, "mps": torch.mps}.get(device.split(":")[0])
    start = time.perf_counter()
    result = call()
    if backend is not None:
        backend.synchronize()
    return time.perf_counter() - start, result


def measure(device: str, size: int, frames: int, rounds: int) -> dict[ComputeDevice, dict[str, float]]:
    """Median seconds of a UNet step and of decoding for each setting, and the relative error of the step."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(frames, 4, size // 8, size // 8, generator=generator)
    text = torch.randn(frames, 77, 160, generator=generator)
    calls = {}
    for compute in settings(device):
        unet, vae = (compute.prepare(model) for model in models())
        memory_format = torch.channels_last if compute.channels_last else torch.contiguous_format
        inputs = latents.to(device, compute.torch_dtype, memory_format=memory_format)
        states = text.to(device, compute.torch_dtype)
        calls[compute] = (
            lambda unet=unet, inputs=inputs, states=states: unet(inputs, 500, states).sample,
            lambda vae=vae, inputs=inputs: vae.decode(inputs).sample,
        )
    times = {compute: ([], []) for compute in calls}
    outputs = {}
    with torch.inference_mode():
        for step in range(rounds + 1):
            for compute, both in list(calls.items()):
                if step == 1 and times[compute][0][0] > HOPELESS * min(spent[0][0] for spent in times.values()):
                    del calls[compute]  # the table shows its first round
                    continue
                for call, spent in zip(both, times[compute]):
                    taken, result = seconds(device, call)
                    if step == 1:
                        spent.clear()  # discard the warm-up round
                    spent.append(taken)
                    if step == 0 and call is both[0]:
                        outputs[compute] = result.float().cpu()
    exact = outputs[next(compute for compute in outputs if compute.dtype == "float32")]
    return {
        compute: {
            "unet": statistics.median(unet),
            "decode": statistics.median(decode),
            "error": float((outputs[compute] - exact).norm() / exact.norm()),
        }
        for compute, (unet, decode) in times.items()
    }


def settings(device: str) -> list[ComputeDevice]:
    """All dtypes that the device supports, in both memory formats."""
    found = []
    for dtype in DTYPES:
        try:
            choose_device(device, dtype)
        except UsageError:  # a card without bfloat16
            continue
        found += [ComputeDevice(device, dtype, channels_last) for channels_last in (False, True)]
    return found


def report(device: str, results: dict[ComputeDevice, dict[str, float]]) -> float:
    """Print the table. Returns the ratio of the chosen setting's UNet step to the fastest one."""
    fastest = {key: min(result[key] for result in results.values()) for key in ("unet", "decode")}
    chosen = choose_device(device)
    rows = []
    for compute, result in results.items():
        rows.append(
            (
                compute.dtype,
                "channels last" if compute.channels_last else "channels first",
                f"{1000 * result['unet']:.0f} ms",
                f"{result['unet'] / fastest['unet']:.2f}",
                f"{1000 * result['decode']:.0f} ms",
                f"{result['decode'] / fastest['decode']:.2f}",
                f"{result['error']:.1e}",
                "chosen" if compute == chosen else "",
            )
        )
    columns = ("dtype", "memory", "UNet step", "ratio", "decode", "ratio", "error", "")
    print_table(columns, rows, f"{device}, {torch.get_num_threads()} threads" if device == "cpu" else device)
    # Only the step counts, because a clip needs tens of steps for each decoding.
    return results[chosen]["unet"] / fastest["unet"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", nargs="+", default=available_devices(), help="devices to measure (default: all)")
    parser.add_argument("--size", type=int, default=128, help="side of the frames in pixels (default: 128)")
    parser.add_argument("--frames", type=int, default=1, help="frames in a batch (default: 1)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds after the warm-up (default: 7)")
    args = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()
    missed = False
    for device in args.device:
        ratio = report(device, measure(device, args.size, args.frames, args.rounds))
        missed |= ratio > LIMIT
        out.print(f"{device}: the chosen setting takes {ratio:.2f} times the fastest (limit {LIMIT})")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
