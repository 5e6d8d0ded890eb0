"""How ProPainter, FGT, TokenFlow and RAVE are run, as their own scripts say."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from toolkit.compare.external import (
    External,
    Request,
    padded,
    read_pictures,
    squared,
    unsquared,
    write_pictures,
)
from toolkit.errors import ToolkitError

SIDE = 512
"""Of the squares that the methods on Stable Diffusion work on, in pixels."""


class ProPainter(External):
    """ProPainter (ICCV 2023), github.com/sczhou/ProPainter: `inference_propainter.py`.

    It takes folders of frames and masks (white: to be filled) of any size and gives frames of that size; inside it
    works on multiples of 8, to which frames are padded here, so that it scales nothing.
    """

    name, needs_masks = "propainter", True
    needed = (
        "inference_propainter.py",
        "weights/raft-things.pth",
        "weights/recurrent_flow_completion.pth",
        "weights/ProPainter.pth",
    )

    def run(self, request: Request) -> Iterator[np.ndarray]:
        frames, masks, results = _pictures(request, least=2, multiple=8)
        words = ["--video", frames, "--mask", masks, "--output", results, "--save_frames"]
        # Its weights lie in `weights` of the folder that it is run in.
        self.call([self.checkout / "inference_propainter.py", *words], request.work, cwd=self.checkout)
        for picture in read_pictures(results / frames.name / "frames", request.count, self.name):
            yield _cut(picture, request, self.name)


class FGT(External):
    """FGT (ECCV 2022), github.com/hitachinsk/FGT: `tool/video_inpainting.py`.

    It takes folders of frames and masks (white: to be filled) and the size to work at, which here is the frame's,
    padded to multiples of 8.
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
        # Its flow completion looks at neighbours three frames away, and reflects at the ends.
        frames, masks, results = _pictures(request, least=8, multiple=8)
        height, width = (-(-side // 8) * 8 for side in (request.height, request.width))
        # It takes the folders of its input for patterns; a name with brackets would match nothing.
        words = ["--path", glob.escape(str(frames)), "--path_mask", glob.escape(str(masks)), "--outroot", results]
        words += ["--opt", "configs/object_removal.yaml"]
        words += ["--imgH", str(height), "--imgW", str(width), "--vis_frame"]
        # Its settings name weights relative to `tool`.
        tool = self.checkout / "tool"
        self.call([tool / "video_inpainting.py", *words], request.work, cwd=tool)
        for picture in read_pictures(results / "frames", request.count, self.name):
            yield _cut(picture, request, self.name)


class TokenFlow(External):
    """TokenFlow (ICLR 2024), github.com/omerbt/TokenFlow: `preprocess.py`, then `run_tokenflow_pnp.py`.

    It edits the whole picture after a prompt. Frames are made square here and scaled to 512 pixels, and back; a number
    of frames that is no multiple of its batch is filled up by the last one. It keeps all frames in memory.
    """

    name, needs_masks = "tokenflow", False
    needed = ("preprocess.py", "run_tokenflow_pnp.py", "tokenflow_utils.py", "util.py")
    batch, inversion_steps, steps, version = 8, 500, 50, "2.1"
    """As in its `configs/config_pnp.yaml`; it takes frames in full batches, and leaves out the rest."""

    def run(self, request: Request) -> Iterator[np.ndarray]:
        work = request.work.absolute()
        video = work / "input.mp4"
        count = _write_square_video(request, video, self.batch)
        words = ["--data_path", video, "--save_dir", "latents", "--sd_version", self.version, "--inversion_prompt", ""]
        words += ["--steps", str(self.inversion_steps), "--save_steps", str(self.steps), "--n_frames", str(count)]
        words += ["--H", str(SIDE), "--W", str(SIDE)]
        # It leaves frames in `data` and latents in `latents` of the folder that it is run in.
        self.call([self.checkout / "preprocess.py", *words], work)
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
            raise ToolkitError(f"{self.name} left no frames in {work}")
        for picture in read_pictures(results[0], request.count, self.name):
            yield _unsquare(picture, request, self.name)


class Rave(External):
    """RAVE (CVPR 2024), github.com/RehgLab/RAVE: `scripts/run_experiment.py`.

    It edits the whole picture after a prompt, in grids of 3 x 3 frames. Frames are made square here and scaled to 512
    pixels, and back; the last one is repeated until grids are full. The result is a GIF, of 256 colours a frame.
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
        # It looks for everything below the folder that it is run in, and downloads what is not there.
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
            raise ToolkitError(f"{self.name} left no GIF in {work / 'results'}")
        for picture in _gif(found[0], request.count, self.name):
            yield _unsquare(picture, request, self.name)


TOOLS = {tool.name: tool for tool in (ProPainter, FGT, TokenFlow, Rave)}


def _pictures(request: Request, least: int, multiple: int) -> tuple[Path, Path, Path]:
    """Folders of frames and masks, and one for results."""
    work = request.work.absolute()  # the tools are run in other folders
    frames, masks = work / "frames", work / "masks"
    write_pictures(frames, (padded(frame, multiple) for frame in request.frames()), least)
    write_pictures(masks, (padded(mask, multiple) for mask in request.masks()), least)
    return frames, masks, work / "results"


def _cut(picture: np.ndarray, request: Request, name: str) -> np.ndarray:
    height, width = request.height, request.width
    if picture.shape[0] - height not in range(8) or picture.shape[1] - width not in range(8):
        raise ToolkitError(f"{name} gave frames of {picture.shape[1]}x{picture.shape[0]} for {width}x{height}")
    return np.ascontiguousarray(picture[:height, :width])


def _unsquare(picture: np.ndarray, request: Request, name: str) -> np.ndarray:
    if picture.shape[:2] != (SIDE, SIDE):
        raise ToolkitError(f"{name} gave frames of {picture.shape[1]}x{picture.shape[0]} for {SIDE}x{SIDE}")
    return unsquared(picture, request.height, request.width)


def _folder_name(prompt: str) -> str:
    """The prompt as the tools can use it: they name the folder of their results after it."""
    return prompt.replace("/", " ")


def _write_square_video(request: Request, path: Path, multiple: int) -> int:
    """H.264 of squares without loss, in RGB, as many frames as a multiple of that number; returns how many.

    The tools read it by libraries that take all video for BT.601; RGB has no matrix to be mistaken.
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


def _gif(path: Path, count: int, name: str) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            found = getattr(picture, "n_frames", 1)
            if found < count:
                raise ToolkitError(f"{name} gave {found} frames in {path}, and the video has {count}")
            for _, frame in zip(range(count), ImageSequence.Iterator(picture)):
                yield np.array(frame.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ToolkitError(f"{name} gave a GIF that cannot be read: {path}") from error
