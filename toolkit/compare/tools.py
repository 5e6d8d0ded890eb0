"""Adapters for ProPainter, FGT, TokenFlow and RAVE: each runs the project's own scripts."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from toolkit.compare.external import External, Request
from toolkit.compare.pictures import padded, read_gif, read_pictures, squared, unpadded, unsquared, write_pictures
from toolkit.errors import ToolkitError

SIDE = 512
"""px; side of the squares that the methods based on Stable Diffusion work on."""


class ProPainter(External):
    """ProPainter (ICCV 2023), github.com/sczhou/ProPainter: `inference_propainter.py`.

    It reads folders of frames and of masks, white where to fill, and writes frames of the same size. Internally it
    works at multiples of 8, so frames are padded to these here and it need not scale them.
    """

    name, needs_masks = "propainter", True
    needed = (
        "inference_propainter.py",
        "weights/raft-things.pth",
        "weights/recurrent_flow_completion.pth",
        "weights/ProPainter.pth",
    )

    def run(self, request: Request) -> Iterator[np.ndarray]:
        frames, masks, results = _write_input(request, least=2, multiple=8)
        arguments: list[str | Path] = ["--video", frames, "--mask", masks, "--output", results, "--save_frames"]
        # It loads its weights from `weights` in the current folder.
        self.call([self.checkout / "inference_propainter.py", *arguments], request.work, cwd=self.checkout)
        for picture in read_pictures(results / frames.name / "frames", request.count, self.name):
            yield unpadded(picture, request.height, request.width, self.name)


class FGT(External):
    """FGT (ECCV 2022), github.com/hitachinsk/FGT: `tool/video_inpainting.py`.

    It reads folders of frames and of masks, white where to fill, and the size to work at: here the frame's, padded to
    multiples of 8.
    """

    name, needs_masks = "fgt", True
    needed = (
        "tool/video_inpainting.py",
        "tool/configs/object_removal.yaml",
        "LAFC/flowCheckPoint/raft-things.pth",
        "LAFC/checkpoint/*.tar",
        "LAFC/checkpoint/*.yaml",
        "FGT/checkpoint/*.tar",
        "FGT/checkpoint/*.yaml",
    )

    def run(self, request: Request) -> Iterator[np.ndarray]:
        # Its flow completion uses neighbours three frames away, and mirrors them at the ends.
        frames, masks, results = _write_input(request, least=8, multiple=8)
        height, width = (-(-side // 8) * 8 for side in (request.height, request.width))
        arguments: list[str | Path] = ["--opt", "configs/object_removal.yaml", "--outroot", results, "--vis_frame"]
        # It treats its input folders as patterns; a name with brackets would match nothing.
        arguments += ["--path", glob.escape(str(frames)), "--path_mask", glob.escape(str(masks))]
        arguments += ["--imgH", str(height), "--imgW", str(width)]
        # Its settings name weights relative to `tool`.
        tool = self.checkout / "tool"
        self.call([tool / "video_inpainting.py", *arguments], request.work, cwd=tool)
        for picture in read_pictures(results / "frames", request.count, self.name):
            yield unpadded(picture, request.height, request.width, self.name)


class TokenFlow(External):
    """TokenFlow (ICLR 2024), github.com/omerbt/TokenFlow: `preprocess.py`, then `run_tokenflow_pnp.py`.

    It edits the whole picture to match a prompt. Frames are made square and scaled to 512 pixels here, and back. The
    last frame is repeated until the count is a multiple of the tool's batch. The tool keeps all frames in memory.
    """

    name, needs_masks = "tokenflow", False
    needed = ("preprocess.py", "run_tokenflow_pnp.py", "tokenflow_utils.py", "util.py")
    batch, inversion_steps, steps, version = 8, 500, 50, "2.1"
    """As in its `configs/config_pnp.yaml`; it processes full batches only and drops the rest."""

    def run(self, request: Request) -> Iterator[np.ndarray]:
        work = request.work.absolute()
        video = work / "input.mp4"
        count = _write_square_video(request, video, self.batch)
        arguments: list[str | Path] = ["--data_path", video, "--save_dir", "latents", "--sd_version", self.version]
        arguments += ["--inversion_prompt", "", "--steps", str(self.inversion_steps), "--save_steps", str(self.steps)]
        arguments += ["--n_frames", str(count), "--H", str(SIDE), "--W", str(SIDE)]
        # It writes frames to `data` and latents to `latents` in the current folder.
        self.call([self.checkout / "preprocess.py", *arguments], work)
        config = {
            "seed": 1,
            "device": "cuda",
            "output_path": "results",
            "data_path": "data/input",
            "latents_path": "latents",
            "n_inversion_steps": self.inversion_steps,
            "n_frames": count,
            "sd_version": self.version,
            "guidance_scale": 7.5,
            "n_timesteps": self.steps,
            "prompt": _folder_name(request.prompt),
            "negative_prompt": request.negative_prompt,
            "batch_size": self.batch,
            "pnp_attn_t": 0.5,
            "pnp_f_t": 0.8,
        }
        path = work / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        self.call([self.checkout / "run_tokenflow_pnp.py", "--config_path", path], work)
        results = sorted(work.glob("results*/**/img_ode"))
        if not results:
            raise ToolkitError(f"{self.name} wrote no frames to {work}")
        for picture in read_pictures(results[0], request.count, self.name):
            yield _unsquare(picture, request, self.name)


class Rave(External):
    """RAVE (CVPR 2024), github.com/RehgLab/RAVE: `scripts/run_experiment.py`.

    It edits the whole picture to match a prompt, in grids of 3 x 3 frames. Frames are made square and scaled to 512
    pixels here, and back; the last frame is repeated until the grids are full. The result is a GIF with 256 colours a
    frame.
    """

    name, needs_masks = "rave", False
    needed = (
        "scripts/run_experiment.py",
        "pipelines/sd_controlnet_rave.py",
        "utils/constants.py",
        "pretrained_models/zoedepth/ZoeD_M12_N.pt",
    )
    grid = 3

    def run(self, request: Request) -> Iterator[np.ndarray]:
        work = request.work.absolute()
        videos = work / "data" / "mp4_videos"
        videos.mkdir(parents=True)
        _write_square_video(request, videos / "input.mp4", self.grid**2)
        # It looks for everything below the current folder, and downloads missing models.
        (work / "pretrained_models").symlink_to(self.checkout / "pretrained_models")
        config = {
            "video_name": "input",
            "preprocess_name": "depth_zoe",
            "batch_size": 4,
            "batch_size_vae": 1,
            "cond_step_start": 0.0,
            "controlnet_conditioning_scale": 1.0,
            "controlnet_guidance_end": 1.0,
            "controlnet_guidance_start": 0.0,
            "give_control_inversion": True,
            "grid_size": self.grid,
            "sample_size": -1,
            "pad": 1,
            "guidance_scale": 7.5,
            "inversion_prompt": "",
            "is_ddim_inversion": True,
            "is_shuffle": True,
            "negative_prompts": request.negative_prompt,
            "num_inference_steps": 50,
            "num_inversion_step": 50,
            "positive_prompts": _folder_name(request.prompt),
            "save_folder": "toolkit",
            "seed": 0,
            "model_id": "None",
        }
        path = work / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML too
        self.call([self.checkout / "scripts" / "run_experiment.py", path], work)
        found = sorted((work / "results").glob("**/*.gif"))
        if not found:
            raise ToolkitError(f"{self.name} wrote no GIF to {work / 'results'}")
        for picture in read_gif(found[0], request.count, self.name):
            yield _unsquare(picture, request, self.name)


TOOLS: dict[str, type[External]] = {tool.name: tool for tool in (ProPainter, FGT, TokenFlow, Rave)}


def external(name: str, checkout: Path, python: Path) -> External:
    """The tool with that name, a key of `TOOLS`; the other arguments are those of `External`."""
    return TOOLS[name](checkout, python)


def _write_input(request: Request, least: int, multiple: int) -> tuple[Path, Path, Path]:
    """Write padded frames and masks; returns their folders, and one for the results."""
    work = request.work.absolute()  # the tools run in other folders
    frames, masks = work / "frames", work / "masks"
    assert request.masks is not None, "the tool declares needs_masks"
    write_pictures(frames, (padded(frame, multiple) for frame in request.frames()), least)
    write_pictures(masks, (padded(mask, multiple) for mask in request.masks()), least)
    return frames, masks, work / "results"


def _unsquare(picture: np.ndarray, request: Request, name: str) -> np.ndarray:
    if picture.shape[:2] != (SIDE, SIDE):
        raise ToolkitError(f"{name} returned frames of {picture.shape[1]}x{picture.shape[0]}, expected {SIDE}x{SIDE}")
    return unsquared(picture, request.height, request.width)


def _folder_name(prompt: str) -> str:
    """The prompt without slashes: the tools name the folder of their results after it."""
    return prompt.replace("/", " ")


def _write_square_video(request: Request, path: Path, multiple: int) -> int:
    """Write lossless H.264 in RGB; the last frame is repeated until the count is a multiple. Returns the count.

    The tools' libraries read all video as BT.601, so a YUV video could change its colours; RGB cannot.
    """
    import av

    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=Fraction(request.fps).limit_denominator(1001))
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.options = "rgb24", {"qp": "0", "preset": "veryfast"}
        for frame in request.frames():
            square = av.VideoFrame.from_ndarray(squared(frame, SIDE), "rgb24")
            container.mux(stream.encode(square))
            count += 1
        while count % multiple:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(square.to_ndarray(), "rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return count
