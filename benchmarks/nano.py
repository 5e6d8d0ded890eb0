"""Measures how fast and how well the embedded backbone edits.

    python -m benchmarks.nano [--part speed steps coders] [--task glasses] [--videos DIR] [--data DIR]

``speed`` times a whole edit of the sample clip, whose face fills 256 pixels, with the attribute drawn on it. It also
times one evaluation of the networks, and one of networks of Stable Diffusion 1.5's shape with random weights, each at
the size of its crops.
``steps`` edits the clips that `toolkit dataset videos` wrote to DIR in 1, 2 and 4 steps, and measures them as
`toolkit evaluate` does.
``coders`` trains diffusers' `AutoencoderTiny`, with cells of the same size, on pictures of the dataset `--data` for a
few minutes, and compares its loss on other pictures with nano's lossless coder.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from toolkit.backbones import load
from toolkit.cli.console import out
from toolkit.edit.config import EditConfig
from toolkit.edit.folder import edit_videos
from toolkit.edit.report import EditObserver
from toolkit.edit.video import edit_in_session, open_session
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.evaluation import evaluate
from toolkit.evaluate.tables import terminal
from toolkit.pretrain.samples import Pictures
from toolkit.registry import load_task
from toolkit.testing.sample import sample_clip
from toolkit.video import VideoWriter

PARTS = {"speed": None, "steps": "videos", "coders": "data"}
"""The parts, and the option that each needs."""

REMOVE_ALL = {"hidden_eyes": "remove", "face_paint": "remove"}
"""Settings with which every attribute is removed, dark lenses too."""

LIMIT = 3.0
"""Frames per second that a laptop with 4 cores should reach."""

LATENT_CHANNELS = 12
"""Channels of the trained coder, a quarter of nano's."""

SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}


def speed(task: str, quick: bool) -> bool:
    """Print the frames per second of a whole edit and its time by step; return whether the limit is met."""
    frames = 8 if quick else 160
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "worn.mp4"
        with VideoWriter(source, fps=25) as writer:
            for frame in worn_sample(task, frames):
                writer.write(frame)
        session = open_session(EditConfig(task=[task]))
        session.pipelines.with_remover(0)
        begun = time.perf_counter()
        report = edit_in_session(session, source, Path(folder) / "edited.mp4", EditObserver())
        rate = frames / (time.perf_counter() - begun)
    if report.counts.get("edited") != frames:
        raise SystemExit(f"expected {frames} edited frames, found {report.counts}")
    spent = ", ".join(f"{name} {seconds / frames * 1000:.0f}" for name, seconds in report.seconds.items())
    print(f"whole edit: {rate:.2f} frames/s (at least {LIMIT:g}); milliseconds a frame: {spent}")
    nano = seconds_of(nano_evaluation())
    print(f"one evaluation of UNet and ControlNet: {nano * 1000:.0f} ms")
    if not quick:
        large = seconds_of(sd15_evaluation(), 2)
        print(f"with Stable Diffusion 1.5's shape: {large * 1000:.0f} ms, {large / nano:.0f} times as long")
    return quick or rate >= LIMIT


def worn_sample(task: str, count: int) -> np.ndarray:
    """The sample clip with the attribute drawn on the face, which fills it; uint8 ``[T, 256, 256, 3]``."""
    clip = sample_clip(count)
    frames = clip.frames.copy()
    options = {"pairs": "render"} if task == "glasses" else {}
    for pair in load_task(task, options).pair_generator()(clip, np.random.default_rng(0), None):
        frames[pair.index] = pair.conditioning_image
    return frames


def nano_evaluation() -> Callable[[], object]:
    """A call of nano's UNet and tile ControlNet on one crop."""
    backbone = load("nano", ("unet", "text_encoder", "controlnet_tile"))
    states = backbone.text_encoder().last_hidden_state
    latents = torch.randn(1, backbone.unet.config.in_channels, 64, 64)
    return _evaluation(backbone.unet, backbone.controlnet_tile, latents, states, 256)


def sd15_evaluation() -> Callable[[], object]:
    """The same with networks of Stable Diffusion 1.5's shape, on one crop of 512 pixels."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel(**SD15)
    controlnet = ControlNetModel.from_unet(unet)
    layout = {"memory_format": torch.channels_last}
    return _evaluation(
        unet.eval().to(**layout),
        controlnet.eval().to(**layout),
        torch.randn(1, 4, 64, 64),
        torch.randn(1, 77, 768),
        512,
    )


def _evaluation(unet, controlnet, latents, states, side) -> Callable[[], object]:
    hint = torch.rand(1, 3, side, side)

    @torch.inference_mode()
    def run():
        down, mid = controlnet(latents, 499, encoder_hidden_states=states, controlnet_cond=hint, return_dict=False)
        return unet(
            latents,
            499,
            encoder_hidden_states=states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        )

    return run


def seconds_of(run: Callable[[], object], repeats: int = 10) -> float:
    """Seconds of the fastest of some runs, after a warm-up."""
    run()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def steps(task: str, videos: Path) -> None:
    """Print the measures and times of edits with 1, 2 and 4 steps."""
    with tempfile.TemporaryDirectory() as folder:
        edited, taken = {}, {}
        for count in (1, 2, 4):
            settings = {"denoising": {"num_inference_steps": count}, "crop": REMOVE_ALL, "writing": {"lossless": True}}
            begun = time.perf_counter()
            edited[count] = Path(folder) / str(count)
            edit_videos(videos / "with", edited[count], EditConfig(task=[task], **settings), EditObserver())
            taken[count] = time.perf_counter() - begun
        config = EvaluateConfig(
            original=videos / "with",
            edited=[f"{count} steps={path}" for count, path in edited.items()],
            target=videos / "without",
            task=task,
            output=Path(folder) / "report",
            clips=False,
        )
        out.print(terminal(evaluate(config).evaluation))
    for count, seconds in taken.items():
        print(f"{count} steps take {seconds / taken[1]:.2f} times as long as one")


def coders(data: Path, minutes: float) -> None:
    """Print PSNR, size and time of a trained coder and of nano's."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    pictures = Pictures([data], 256)
    clips = pictures.clips[0]
    held_out, clips = clips[:: len(clips) // 32][:32], [clip for k, clip in enumerate(clips) if k % (len(clips) // 32)]
    widths, blocks = (48, 48, 48), (1, 2, 2)
    trained = AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks[::-1],
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(trained.parameters(), 1e-3)
    rng = np.random.default_rng(0)
    begun, steps = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, 2 * (1 - passed / minutes / 60))
        batch = _pixels(pictures, [clips[k] for k in rng.integers(len(clips), size=8)])
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(_decoded(trained, batch), batch).backward()
        optimizer.step()
        steps += 1
    batch = _pixels(pictures, held_out)
    nano = load("nano", ("vae",)).vae
    for name, coder in ((f"trained, {steps} steps of 8 pictures", trained.eval()), ("nano's", nano)):
        with torch.inference_mode():
            error = ((_decoded(coder, batch).clamp(-1, 1) - batch) / 2).square().mean()
            seconds = seconds_of(lambda coder=coder: _decoded(coder, batch[:8])) / 8
        size = sum(parameter.numel() for parameter in coder.parameters())
        print(
            f"coder {name}: {-10 * float(torch.log10(error + 1e-12)):.1f} dB, {coder.config.latent_channels} channels, "
            f"{size / 1e6:.2f} M weights, {seconds * 1000:.1f} ms a picture"
        )


def _pixels(pictures: Pictures, clips) -> torch.Tensor:
    frames = np.concatenate([pictures.read(clip)[0] for clip in clips])
    return (torch.from_numpy(frames).permute(0, 3, 1, 2) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _decoded(coder, batch: torch.Tensor) -> torch.Tensor:
    coded = coder.encode(batch)
    return coder.decode(coded.latents if hasattr(coded, "latents") else coded.latent_dist.mode()).sample


def main() -> int:
    """Run the parts; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=["speed"])
    parser.add_argument("--task", default="glasses")
    parser.add_argument("--videos", type=Path, help="folder that `toolkit dataset videos` wrote, for `steps`")
    parser.add_argument("--data", type=Path, help="dataset of pairs, for `coders`")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long `coders` trains")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    for part in args.part:
        if PARTS[part] and getattr(args, PARTS[part]) is None:
            parser.error(f"--part {part} needs --{PARTS[part]}")
    good = True
    if "speed" in args.part:
        good &= speed(args.task, args.quick)
    if "steps" in args.part:
        steps(args.task, args.videos)
    if "coders" in args.part:
        coders(args.data, args.minutes)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
