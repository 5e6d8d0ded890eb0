"""``toolkit demo``: run all four steps on an embedded clip, or on your own video, in about two minutes."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from toolkit.cli.help import Parser

TASK = "stickers"

SIDE = 256
"""Side of the pictures in pixels; the embedded backbone's."""

STEPS = 16
"""Steps of the finetuning: enough to see it learn, too few for a useful remover."""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """`--output`, `--video`."""
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="DIR", help="Folder for the results. Default demo."
    )
    parser.add_argument(
        "--video", type=Path, metavar="PATH", help="Face video to use. If unset, a sample clip of the toolkit."
    )


def run(args: argparse.Namespace) -> int:
    """Draw stickers on a face, remove them, train a remover for a few steps, and measure.

    A second run with the same folder is faster, because the dataset, the edit and the finetuning are kept.

    Raises:
        ToolkitError: a step failed.
    """
    from toolkit.cli.console import out
    from toolkit.dataset.videos import write_videos
    from toolkit.files import atomic
    from toolkit.video import probe

    if args.video is not None:
        probe(args.video)  # so that a bad video is refused before anything is written
    folder = args.output
    videos = [args.video or _sample(folder, "sample.mp4"), _sample(folder, "held-out.mp4", mirrored=True)]
    dataset, remover = folder / f"{videos[0].stem}-{TASK}", folder / f"{videos[0].stem}-remover"
    build = ["--task", TASK, "--videos", *map(str, videos), "--output", str(dataset)]
    # Each clip gets one sticker, so short clips show more of them. One of the two sources is held out.
    build += ["--resolution", str(SIDE), "--clip-length", "20", "--validation-fraction", "0.5"]
    code = _step("1/4 Draw stickers on a face, to get pairs of frames with and without them.", "build-dataset", build)
    if code:
        return code
    if not (folder / "videos").exists():
        with atomic(folder / "videos") as staged:
            write_videos(dataset, staged, limit=1)
    worn, clean = (next((folder / "videos" / name).iterdir()) for name in ("with", "without"))
    edited = folder / "edited.mp4"
    code = _step("2/4 Remove the stickers from a clip.", "edit", [str(worn), str(edited), "--task", TASK])
    if code:
        return code
    picture = folder / "before-after-mask.jpg"
    _picture(worn, edited, picture)
    out.print(f"before, after, changed pixels: {picture}", soft_wrap=True)
    train = ["--data", str(dataset), "--output", str(remover), "--backbone", "nano"]
    train += ["--max-train-steps", str(STEPS), "--train-batch-size", "4", "--validation-steps", str(STEPS // 2)]
    train += ["--validation-samples", "4", "--report-to", "none", "--resume-from-checkpoint", "latest"]
    purpose = f"3/4 Train a new remover for {STEPS} steps, to see it learn; a useful one takes a thousand or more."
    code = _step(purpose, "finetune", train)
    if code:
        return code
    measure = ["--original", str(worn), "--edited", f"shipped={edited}", "--target", str(clean), "--task", TASK]
    purpose = "4/4 Measure the edit of step 2 against the same clip without stickers."
    return _step(purpose, "evaluate", [*measure, "--output", str(folder / "report")])


def _step(purpose: str, verb: str, words: list[str]) -> int:
    """Print the purpose of a command and the command, then run it."""
    from importlib import import_module

    from toolkit.cli import VERBS
    from toolkit.cli.console import out
    from toolkit.cli.options import Parser

    out.print(purpose, soft_wrap=True)
    out.print("$", shlex.join(["toolkit", verb, *words]), soft_wrap=True)
    module = import_module(VERBS[verb][0])
    parser = Parser(prog=f"toolkit {verb}")
    module.configure(parser, words)
    return module.run(parser.parse_args(words))


def _sample(folder: Path, name: str, mirrored: bool = False) -> Path:
    """The sample clip in `folder`; written unless an earlier run did.

    Raises:
        UsageError: the folder cannot be created.
    """
    from toolkit.errors import UsageError
    from toolkit.testing.sample import write_sample_video

    path = folder / name
    if path.exists():
        return path
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be created ({error.strerror}); choose another --output") from None
    return write_sample_video(path, mirrored=mirrored)


def _picture(before: Path, after: Path, path: Path) -> None:
    """Write a picture: a frame before the edit, after it, and the pixels that changed, side by side."""
    import numpy as np
    from PIL import Image

    from toolkit.video import read_frames

    first, second = (next(iter(read_frames(video))).image for video in (before, after))
    change = np.abs(first.astype(int) - second).max(axis=-1) > 16
    mask = np.repeat(change[..., None], 3, axis=-1) * np.uint8(255)
    Image.fromarray(np.concatenate([first, second, mask], axis=1)).save(path, quality=92)
