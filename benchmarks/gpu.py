"""What to run when a GPU is at hand: the GPU tests, and Stable Diffusion 1.5's shapes with random weights in float16.

    benchmarks/gpu.sh [--parts NAME ...] [--dry-run] [--seconds N]

Prints one table with the card's name. Each part runs in a process of its own, with a time limit, so one that fails or
runs out of memory costs only its own rows. All parts together take at most 8 minutes on an H100. ``--dry-run`` runs
everything on the CPU with tiny networks, whose figures mean nothing. Weights are random, so memory and speed are those
of Stable Diffusion 1.5, and pictures are noise.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

HERE = Path(__file__).resolve().parents[1]
SECONDS = 470
"""Time of all parts together."""

GIB = 2**30


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        figure: what was measured.
        value: the result, as text.
        target: what it is held against, as text; empty if nothing.
        good: whether the target is met; None if there is none.
    """

    figure: str
    value: str
    target: str = ""
    good: bool | None = None


class Computed(NamedTuple):
    """GiB of live tensors, computed from the shapes of Stable Diffusion 1.5 at 512 pixels in float16."""

    weights: float = 3.2
    encode_16: float = 5.0
    decode_16: float = 6.0
    window_16: float = 1.3
    guided_window_16: float = 2.6
    finetune_bf16: float = 13.9


COMPUTED = Computed()
FAR = 1.25
"""Ratio of a measured peak to the computed one from which the computation is wrong."""


@contextmanager
def peak() -> Iterator[list[float]]:
    """Append the GiB that the GPU needs during the block above what it holds before; 0 without a GPU."""
    found: list[float] = []
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    yield found
    found.append((torch.cuda.max_memory_allocated() - before) / GIB if cuda else 0.0)


def memory_row(figure: str, measured: float, computed: float, dry: bool) -> Row:
    """A peak beside the computed one."""
    good = None if dry else measured <= FAR * computed
    return Row(f"{figure}, peak GiB", f"{measured:.2f}", f"computed {computed:g}", good)


def ratio_row(figure: str, value: float, least: float, note: str, dry: bool, rising: bool = True) -> Row:
    """A ratio beside its limit."""
    good = None if dry else (value >= least if rising else value <= least)
    return Row(figure, f"{value:.2f} ({note})", f"at {'least' if rising else 'most'} {least:g}", good)


# Parts


def tests(dry: bool) -> Iterator[Row]:
    """The tests that need a GPU; without one, all of them are skipped or left out."""
    files = ["tests/edit/test_edit_gpu.py", "tests/diffusion/test_inpaint_pipeline.py"]
    files += ["tests/finetune/test_finetune_gpu.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *files]
    if dry:
        command.append("--collect-only")
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield Row("failed", line.split(" - ")[0].split(" ", 1)[1], "", False)
    yield Row("GPU tests", lines[-1].strip("= ") if lines else done.stderr[-200:], "all pass", done.returncode == 0)


def memory(dry: bool) -> Iterator[Row]:
    """Peaks of the VAE and of a denoising step, 16 frames at 512 pixels."""
    from diffusers import AutoencoderKL, ControlNetModel, UNetMotionModel

    device, dtype = ("cpu", torch.float32) if dry else ("cuda", torch.float16)
    part, side, frames = (10, 64, 2) if dry else (1, 512, 16)
    torch.manual_seed(0)
    coder = tuple(channels // 8 if dry else channels for channels in (128, 256, 512, 512))
    widths = tuple(channels // part for channels in (320, 640, 1280, 1280))
    groups = 8 if dry else 32
    with torch.device(device), torch.no_grad():
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=coder,
            layers_per_block=2,
            norm_num_groups=groups,
        ).to(dtype)
        unet = UNetMotionModel(
            block_out_channels=widths,
            cross_attention_dim=768,
            norm_num_groups=groups,
            num_attention_heads=8,
            motion_num_attention_heads=8,
            motion_max_seq_length=32,
        )
        controlnet = ControlNetModel(block_out_channels=widths, cross_attention_dim=768, norm_num_groups=groups)
        unet, controlnet = unet.to(dtype).eval(), controlnet.to(dtype).eval()
    tensors = [tensor for network in (vae, unet, controlnet) for tensor in network.parameters()]
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    yield memory_row("weights of VAE, UNet with motion layers and ControlNet", held / GIB, COMPUTED.weights, dry)
    cells = side // 8
    with torch.no_grad(), torch.device(device):
        pictures = torch.rand(frames, 3, side, side, dtype=dtype)
        latents = torch.randn(frames, 4, cells, cells, dtype=dtype)
        with peak() as found:
            vae.encode(pictures)
        yield memory_row(f"VAE, encoding {frames} frames at once", found[0], COMPUTED.encode_16, dry)
        with peak() as found:
            vae.decode(latents)
        yield memory_row(f"VAE, decoding {frames} frames at once", found[0], COMPUTED.decode_16, dry)
        for guided, computed in ((1, COMPUTED.window_16), (2, COMPUTED.guided_window_16)):
            sample, hint = latents.repeat(guided, 1, 1, 1), pictures.repeat(guided, 1, 1, 1)
            states = torch.randn(guided * frames, 77, 768, dtype=dtype)
            with peak() as found:
                down, mid = controlnet(sample, torch.tensor(500), states, hint, return_dict=False)
                clips = sample.unflatten(0, (guided, frames)).transpose(1, 2)
                unet(
                    clips,
                    torch.tensor(500),
                    states,
                    down_block_additional_residuals=down,
                    mid_block_additional_residual=mid,
                )
            name = f"step of a window of {frames} frames" + (" with guidance" if guided == 2 else "")
            yield memory_row(name, found[0], computed, dry)


def edit(dry: bool) -> Iterator[Row]:
    """Our edit next to diffusers' AnimateDiffVideoToVideoControlNetPipeline with FreeNoise."""
    from benchmarks.edit import FREENOISE, OURS, durations, editing_backbone, make_pipelines
    from toolkit.device import ComputeDevice, choose_device
    from toolkit.testing import tiny_backbone

    frames, side, steps = (20, 32, 1) if dry else (64, 512, 4)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "backbone"
        if dry:
            tiny_backbone(folder)
            compute = ComputeDevice("cpu", "float32", channels_last=False)
        else:
            editing_backbone(folder, motion_heads=8, part=1, device="cuda", dtype=torch.float16)
            compute = choose_device("cuda", "float16")
        pipelines = make_pipelines(folder, compute)
        seconds = durations(pipelines, frames, side, steps, rounds=1)
    ours, theirs = (1000 * seconds[kind] / frames for kind in (OURS, FREENOISE))
    note = f"{ours:.0f} / {theirs:.0f} ms a frame"
    yield ratio_row(
        f"edit of {frames} frames in {steps} steps, diffusers' time / ours", theirs / ours, 1.0, f"{note}; aim 2", dry
    )


def attention(dry: bool) -> Iterator[Row]:
    """A step with two reference frames next to one with plain self-attention."""
    from benchmarks.cross_frame import LIMITS, step_seconds

    settings: dict[str, Any] = {"widths": (32, 32, 64, 64), "rounds": 1} if dry else {}
    frames, side = (4, 64) if dry else (16, 512)
    seconds = step_seconds(frames, side, kinds=("plain", "references"), **settings)
    note = f"{1000 * seconds['plain']:.0f} ms plain, {frames} frames"
    value = seconds["references"] / seconds["plain"]
    yield ratio_row("step with cross-frame attention / plain", value, LIMITS["step"], note, dry, rising=False)


def finetune(dry: bool) -> Iterator[Row]:
    """Training next to a plain loop that does the work of `train_controlnet.py`, and its peak memory."""
    from benchmarks.finetune import LIMITS, sd15_backbone, speed, training
    from toolkit.finetune import finetune as run
    from toolkit.testing import drawn_dataset, tiny_backbone

    side, batch, steps = (64, 2, 3) if dry else (512, 8, 10)
    with tempfile.TemporaryDirectory() as work:
        os.environ["HF_DATASETS_CACHE"] = str(Path(work) / "cache")
        folder = Path(work) / "backbone"
        tiny_backbone(folder) if dry else sd15_backbone(folder, 1, device="cuda", dtype=torch.float16)
        torch.cuda.empty_cache()
        data = drawn_dataset(Path(work) / "data", resolution=side, frames=max(4, batch))
        with peak() as found:
            run(training(data, folder, Path(work) / "remover", side, 3, batch))
        yield memory_row(f"finetuning, batch {batch}, default number format", found[0], COMPUTED.finetune_bf16, dry)
        ours, plain = speed(side, batch, steps, False, folder)
    note = f"{1 / ours:.2f} / {1 / plain:.2f} steps/s; aim 3"
    yield ratio_row("finetuning, steps per second / plain loop's", plain / ours, LIMITS["speed"], note, dry)


def nano_edit(dry: bool) -> Iterator[Row]:
    """`toolkit edit --task glasses` with nano, models loaded."""
    from benchmarks.edit_speed import draw
    from toolkit.edit.config import EditConfig
    from toolkit.edit.report import EditObserver
    from toolkit.edit.video import edit_in_session, open_session

    frames, side = (4, 128) if dry else (180, 512)
    with tempfile.TemporaryDirectory() as work:
        clip = Path(work) / "clip.mp4"
        draw("glasses", str(frames), str(side), str(clip), *([frames] if dry else []))
        config = EditConfig(task=["glasses"], device="cpu" if dry else "cuda", workers=1 if dry else None)
        session = open_session(config)
        for number in range(1 if dry else 2):  # the first one loads the models
            begun = time.perf_counter()
            report = edit_in_session(session, clip, Path(work) / f"{number}.mp4", EditObserver())
            seconds = time.perf_counter() - begun
    yield ratio_row("nano edit, frames/s", frames / seconds, 150, f"{frames} frames of {side} pixels", dry)
    largest = sorted(report.stages.items(), key=lambda stage: -stage[1].wall)[:4]
    yield Row("nano edit, wall ms a frame", ", ".join(f"{n} {1000 * s.wall / frames:.1f}" for n, s in largest))


def nano_training(dry: bool) -> Iterator[Row]:
    """Each stage of nano's training, in images per second."""
    from toolkit.pretrain import PretrainConfig, PretrainObserver, pretrain
    from toolkit.pretrain.recipe import RECIPES, Recipe, read_recipe
    from toolkit.testing import drawn_dataset

    steps, left_out = (3, 1) if dry else (16, 6)
    recipe = read_recipe(RECIPES / "nano.json").model_dump(mode="json")
    for stage in recipe["stages"].values():
        phase = max(stage["phases"], key=lambda phase: (not phase["half_size"], phase["steps"])) | {"steps": steps}
        stage["phases"] = [phase | ({"train_batch_size": 1} if dry else {})]
        stage["clip_length"] = min(stage["clip_length"], 2) if dry else stage["clip_length"]
        if dry and stage["resolution"]:
            stage["resolution"], stage["phases"][0]["region"] = 96, (64, 32)
    if dry:
        shape = {"resolution": 64, "cell": 2, "channels": [16, 32], "heads": 2, "width": 8}
        recipe["shape"] = shape | {"hint_channels": [8, 24], "motion_heads": 2}

    class Clock(PretrainObserver):
        def __init__(self) -> None:
            self.times: list[float] = []

        def advance(self, done: int, **figures: float) -> None:
            self.times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "recipe.json"
        path.write_text(json.dumps(recipe), encoding="utf-8")
        parsed = Recipe.model_validate(recipe)
        for name, stage in parsed.stages.items():
            clock, side = Clock(), stage.resolution or parsed.shape.resolution
            data = Path(work) / f"data-{side}"
            if not data.exists():
                drawn_dataset(data, resolution=side, frames=16)
            config = PretrainConfig(
                stage=name,
                data=[data],
                output=Path(work) / "nano",
                recipe=path,
                dataloader_num_workers=0 if dry else 8,
                device="cpu" if dry else "cuda",
            )
            pretrain("nano", config, clock)
            times = clock.times[left_out - 1 :]
            images = stage.phases[0].train_batch_size * stage.clip_length * (len(times) - 1)
            yield Row(f"nano training, stage {name}, images/s", f"{images / (times[-1] - times[0]):.0f}")


PARTS: dict[str, tuple[Callable[[bool], Iterator[Row]], int]] = {
    "tests": (tests, 90),
    "memory": (memory, 45),
    "edit": (edit, 80),
    "attention": (attention, 40),
    "finetune": (finetune, 110),
    "nano-edit": (nano_edit, 55),
    "nano-training": (nano_training, 50),
}
"""Parts and their time limits in seconds, which sum to `SECONDS`."""


# The table


def run_part(name: str, dry: bool, seconds: float) -> list[Row]:
    """The rows of a part, which runs in a new process."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--one", name, *(["--dry-run"] if dry else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    if dry:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=None if dry else seconds)
            late = False
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # the part and what it started
            output, _ = process.communicate()
            late = True
        errors.seek(0)
        last = [line for line in errors.read().splitlines() if line.strip()][-1:]
    rows = [Row(*json.loads(line[4:])) for line in output.splitlines() if line.startswith("row ")]
    if late:
        rows.append(Row(name, f"not finished within {seconds:.0f} s", "", False))
    elif process.returncode:
        rows.append(Row(name, f"failed: {' '.join(last)[:200]}", "", False))
    return rows


def machine(dry: bool) -> str:
    """The card and the versions that the figures belong to."""
    import diffusers

    versions = f"torch {torch.__version__}, diffusers {diffusers.__version__}"
    if dry:
        return f"dry run on the CPU: the figures mean nothing; {versions}"
    properties = torch.cuda.get_device_properties(0)
    capability = f"{properties.major}.{properties.minor}"
    return f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, capability {capability}; {versions}"


def table(rows: list[tuple[str, Row]]) -> str:
    """Markdown, as kept in benchmarks/README.md."""
    words = {None: "", True: "ok", False: "MISSED"}
    lines = ["| part | figure | result | target | |", "|---|---|---|---|---|"]
    for part, row in rows:
        cells = (part, row.figure, row.value, row.target, words[row.good])
        lines.append(f"| {' | '.join(re.sub(r'[|]', '/', cell) for cell in cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the parts; return 1 if a target is missed or a part fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--dry-run", action="store_true", help="tiny networks on the CPU")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="time for all parts together")
    parser.add_argument("--one", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.one:
        np.random.seed(0)
        for row in PARTS[args.one][0](args.dry_run):
            print("row " + json.dumps(row), flush=True)
        return 0
    if not args.dry_run and not torch.cuda.is_available():
        print("there is no CUDA device here; --dry-run tries the script on the CPU", file=sys.stderr)
        return 2
    begun, rows = time.monotonic(), []
    for name in args.parts:
        left = args.seconds - (time.monotonic() - begun)
        found = run_part(name, args.dry_run, min(PARTS[name][1], left)) if left > 1 else [Row(name, "no time left")]
        rows += [(name, row) for row in found]
    print(machine(args.dry_run))
    print()
    print(table(rows))
    print(f"\n{time.monotonic() - begun:.0f} s")
    return int(any(row.good is False for _, row in rows))


if __name__ == "__main__":
    sys.exit(main())
