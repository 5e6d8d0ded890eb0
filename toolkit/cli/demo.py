"""`toolkit demo`: the main job on a clip that needs no download, or on one video of the user's."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

TASK = "stickers"


def configure(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    parser.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder of the demo (default: demo)"
    )
    parser.add_argument("--video", type=Path, metavar="PATH", help="a face video; the embedded sample clip if left out")


def run(args: argparse.Namespace) -> int:
    """Make the sample where no video is named, and build a dataset of sticker pairs from it.

    Run again with the same folder it finishes at once: the sample is kept, and so is the dataset.

    Raises:
        ToolkitError: as `toolkit build-dataset` does.
    """
    from toolkit.cli import build_dataset
    from toolkit.cli.console import out
    from toolkit.cli.options import Parser

    video = args.video or _sample(args.output)
    words = ["--task", TASK, "--videos", str(video), "--output", str(args.output / f"{video.stem}-{TASK}")]
    words += ["--validation-fraction", "0"]  # one source cannot be split
    if args.video is None:
        words += ["--clip-length", "20"]  # a sticker per clip: four of them show more than two
    out.print("$", shlex.join(["toolkit", "build-dataset", *words]), soft_wrap=True)
    parser = Parser(prog="toolkit build-dataset")
    build_dataset.configure(parser, words)
    return build_dataset.run(parser.parse_args(words))


def _sample(folder: Path) -> Path:
    """The sample clip in `folder`, written there unless an earlier run did.

    Raises:
        UsageError: the folder cannot be made.
    """
    from toolkit.errors import UsageError
    from toolkit.testing.sample import write_sample_video

    path = folder / "sample.mp4"
    if path.exists():
        return path
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be made: {error.strerror}; name another --output") from None
    return write_sample_video(path)
