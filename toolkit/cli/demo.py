"""`toolkit demo`: all four steps with the shipped remover, on an embedded clip or on a video of the user's."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

TASK = "stickers"

SIDE = 256
"""Of the pictures, in pixels: that of the embedded backbone."""

STEPS = 16
"""Of the short finetuning: enough to see how it goes, too few to gain much."""


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="DIR", help="Folder for the results. Default demo."
    )
    parser.add_argument(
        "--video", type=Path, metavar="PATH", help="Face video to use. If unset, a sample clip of the toolkit."
    )


def run(args: argparse.Namespace) -> int:
    """Draw stickers on a face, take them off again, finetune the remover for some steps, and measure.

    Run again with the same folder it is faster: the dataset, the edit and the finetuning are kept.

    Raises:
        ToolkitError: as the verbs do that it runs.
    """
    from toolkit.cli.console import out
    from toolkit.dataset.videos import write_videos
    from toolkit.remover import shipped_remover
    from toolkit.video import probe

    if args.video is not None:
        probe(args.video)  # a bad one is told before anything is made
    folder = args.output
    videos = [args.video or _sample(folder, "sample.mp4"), _sample(folder, "held-out.mp4", mirrored=True)]
    dataset, remover = folder / f"{videos[0].stem}-{TASK}", folder / f"{videos[0].stem}-remover"
    build = ["--task", TASK, "--videos", *map(str, videos), "--output", str(dataset)]
    # A sticker per clip: short ones show more of them. One of the two sources is held out.
    build += ["--resolution", str(SIDE), "--clip-length", "20", "--validation-fraction", "0.5"]
    code = _step("build-dataset", build)
    if code:
        return code
    if not (folder / "videos").exists():
        part = folder / "videos.part"
        shutil.rmtree(part, ignore_errors=True)
        write_videos(dataset, part, limit=1)
        part.rename(folder / "videos")
    worn, clean = (next((folder / "videos" / name).iterdir()) for name in ("with", "without"))
    edited = folder / "edited.mp4"
    code = _step("edit", [str(worn), str(edited), "--task", TASK])
    if code:
        return code
    picture = folder / "before-after-mask.jpg"
    _picture(worn, edited, picture)
    out.print(f"picture: {picture}", soft_wrap=True)
    train = ["--data", str(dataset), "--output", str(remover), "--backbone", "nano"]
    train += ["--init", str(shipped_remover(TASK, "nano")), "--max-train-steps", str(STEPS)]
    train += ["--train-batch-size", "4", "--learning-rate", "1e-5", "--validation-steps", str(STEPS // 2)]
    train += ["--validation-samples", "4", "--report-to", "none", "--resume-from-checkpoint", "latest"]
    code = _step("finetune", train)
    if code:
        return code
    measure = ["--original", str(worn), "--edited", f"shipped={edited}", "--target", str(clean), "--task", TASK]
    return _step("evaluate", [*measure, "--output", str(folder / "report")])


def _step(verb: str, words: list[str]) -> int:
    """Say a command and run it."""
    from importlib import import_module

    from toolkit.cli import VERBS
    from toolkit.cli.console import out
    from toolkit.cli.options import Parser

    out.print("$", shlex.join(["toolkit", verb, *words]), soft_wrap=True)
    module = import_module(VERBS[verb][0])
    parser = Parser(prog=f"toolkit {verb}")
    module.configure(parser, words)
    return module.run(parser.parse_args(words))


def _sample(folder: Path, name: str, mirrored: bool = False) -> Path:
    """The sample clip in `folder`, written there unless an earlier run did.

    Raises:
        UsageError: the folder cannot be made.
    """
    from toolkit.errors import UsageError
    from toolkit.testing.sample import write_sample_video

    path = folder / name
    if path.exists():
        return path
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}; name another --output") from None
    return write_sample_video(path, mirrored=mirrored)


def _picture(before: Path, after: Path, path: Path) -> None:
    """A frame before and after the edit, and where they differ, side by side."""
    import numpy as np
    from PIL import Image

    from toolkit.video import read_frames

    first, second = (next(iter(read_frames(video))).image for video in (before, after))
    change = np.abs(first.astype(int) - second).max(axis=-1) > 16
    mask = np.repeat(change[..., None], 3, axis=-1) * np.uint8(255)
    Image.fromarray(np.concatenate([first, second, mask], axis=1)).save(path, quality=92)
