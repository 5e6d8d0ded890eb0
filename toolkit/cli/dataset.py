"""``toolkit dataset``: checks a dataset, describes it, or writes its clips as videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import err, out
from toolkit.cli.help import Parser
from toolkit.errors import InputError
from toolkit.words import counted

_SHOWN = 50


def configure(parser: Parser, argv: list[str]) -> None:
    """`check DIR`, `show DIR` and `videos DIR OUTPUT`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="Check every file, row and pixel; exit with 1 if something is wrong.")
    check.add_argument("folder", type=Path, metavar="DIR", help="Folder of the dataset.")
    show = actions.add_parser("show", help="Summarise a dataset and draw a preview sheet.")
    show.add_argument("folder", type=Path, metavar="DIR", help="Folder of the dataset.")
    show.add_argument(
        "--output", type=Path, metavar="PNG", help="File for a new preview sheet. If unset, the preview in DIR is used."
    )
    show.add_argument("--clips", type=_positive, metavar="N", help="Clips on the new sheet, default 8.")
    videos = actions.add_parser("videos", help="Write the clips as lossless videos, with and without the attribute.")
    videos.add_argument("folder", type=Path, metavar="DIR", help="Folder of the dataset.")
    videos.add_argument("output", type=Path, metavar="OUTPUT", help="New or empty folder for with/ and without/.")
    videos.add_argument(
        "--split",
        choices=("train", "validation"),
        metavar="train|validation",
        help="Write only this split. If unset, both.",
    )
    videos.add_argument("--clips", type=_positive, metavar="N", help="Largest number of clips to write. If unset, all.")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    return {"check": _check, "show": _show, "videos": _videos}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from toolkit.dataset.check import check_dataset

    report = check_dataset(args.folder)
    for problem in report.problems[:_SHOWN]:
        err.print(f"problem: {problem}", soft_wrap=True)
    if len(report.problems) > _SHOWN:
        err.print(f"and {counted(len(report.problems) - _SHOWN, 'more problems')}")
    counts = ", ".join(f"{number} {split}" for split, number in sorted(report.samples.items())) or "none"
    out.print(f"{counted(report.shards, 'shards')}, {counted(report.clips, 'clips')}, pairs: {counts}")
    out.print("no problems found" if report.ok else counted(len(report.problems), "problems"))
    return 0 if report.ok else 1


def _show(args: argparse.Namespace) -> int:
    from toolkit.dataset.layout import PREVIEW
    from toolkit.dataset.png import encode_png
    from toolkit.dataset.preview import render_preview
    from toolkit.dataset.reader import read_manifest
    from toolkit.errors import UsageError
    from toolkit.files import write_bytes

    if args.clips and not args.output:
        raise UsageError("--clips needs --output PNG, because the preview in the dataset does not change")
    manifest = read_manifest(args.folder)
    if args.output:
        sheet = encode_png(render_preview(args.folder, manifest, clips=args.clips or 8))
        try:
            write_bytes(args.output, sheet)
        except OSError as error:
            raise InputError(f"the sheet {args.output} cannot be written: {error.strerror}") from error
    out.print(f"task {manifest.task}, {manifest.format}, {manifest.resolution}x{manifest.resolution}")
    for split in ("train", "validation"):
        shards = [shard for shard in manifest.shards if shard.split == split]
        sources = {shard.source_digest for shard in shards if shard.pairs}
        pairs = counted(sum(shard.pairs for shard in shards), "pairs")
        clips = counted(sum(shard.clips for shard in shards), "clips")
        out.print(f"{split}: {pairs} in {clips} from {counted(len(sources), 'videos')}")
    for source in manifest.sources:
        if source.status != "ok":
            out.print(f"{source.status}: {source.name}: {source.reason}", soft_wrap=True)
    out.print(f"preview: {args.output or args.folder / PREVIEW}", soft_wrap=True)
    return 0


def _videos(args: argparse.Namespace) -> int:
    from toolkit.dataset.videos import write_videos

    names = write_videos(args.folder, args.output, args.split, args.clips)
    out.print(f"{counted(len(names), 'clips')} in {args.output / 'with'} and {args.output / 'without'}", soft_wrap=True)
    return 0
