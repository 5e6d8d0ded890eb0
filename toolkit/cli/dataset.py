"""``toolkit dataset``: check a dataset, show its preview, or write its clips as videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import err, out
from toolkit.errors import InputError

_SHOWN = 50


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """`check DIR`, `show DIR` and `videos DIR OUTPUT`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="validate every file, row and pixel; exit 1 if something is wrong")
    check.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    show = actions.add_parser("show", help="say what is in it and render a preview sheet")
    show.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    show.add_argument(
        "--output", type=Path, metavar="PNG", help="where to write the sheet (default: the preview that lies in DIR)"
    )
    show.add_argument("--clips", type=_positive, metavar="N", help="clips on the sheet (default: 8); needs --output")
    videos = actions.add_parser(
        "videos", help="write its clips as videos, with and without the attribute, to measure on"
    )
    videos.add_argument("folder", type=Path, metavar="DIR", help="folder of the dataset")
    videos.add_argument("output", type=Path, metavar="OUTPUT", help="folder for with/ and without/; new or empty")
    videos.add_argument("--split", choices=("train", "validation"), help="only its clips (default: all)")
    videos.add_argument("--clips", type=_positive, metavar="N", help="no more than so many (default: all)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    return {"check": _check, "show": _show, "videos": _videos}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from toolkit.dataset.check import check_dataset

    report = check_dataset(args.folder)
    for problem in report.problems[:_SHOWN]:
        err.print(f"problem: {problem}", soft_wrap=True)
    if len(report.problems) > _SHOWN:
        err.print(f"and {len(report.problems) - _SHOWN} more problems")
    counts = ", ".join(f"{number} {split}" for split, number in sorted(report.samples.items())) or "none"
    out.print(f"{report.shards} shards, {report.clips} clips, pairs: {counts}")
    out.print("the dataset is sound" if report.ok else f"{len(report.problems)} problems")
    return 0 if report.ok else 1


def _show(args: argparse.Namespace) -> int:
    from toolkit.dataset.layout import PREVIEW
    from toolkit.dataset.png import encode_png
    from toolkit.dataset.preview import render_preview
    from toolkit.dataset.reader import read_manifest
    from toolkit.errors import UsageError

    if args.clips and not args.output:
        raise UsageError("--clips needs --output PNG: the preview in the dataset stays as it was built")
    manifest = read_manifest(args.folder)
    if args.output:
        sheet = encode_png(render_preview(args.folder, manifest, clips=args.clips or 8))
        try:
            args.output.write_bytes(sheet)
        except OSError as error:
            raise InputError(f"the sheet {args.output} cannot be written: {error.strerror}") from error
    out.print(f"task {manifest.task}, {manifest.format}, {manifest.resolution}x{manifest.resolution}")
    for split in ("train", "validation"):
        shards = [shard for shard in manifest.shards if shard.split == split]
        sources = {shard.source_digest for shard in shards if shard.pairs}
        clips, pairs = sum(shard.clips for shard in shards), sum(shard.pairs for shard in shards)
        out.print(f"{split}: {pairs} pairs in {clips} clips from {len(sources)} videos")
    for source in manifest.sources:
        if source.status != "ok":
            out.print(f"{source.status} {source.name}: {source.reason}", soft_wrap=True)
    out.print(f"preview: {args.output or args.folder / PREVIEW}", soft_wrap=True)
    return 0


def _videos(args: argparse.Namespace) -> int:
    from toolkit.dataset.videos import write_videos

    names = write_videos(args.folder, args.output, args.split, args.clips)
    out.print(f"{len(names)} clips in {args.output / 'with'} and {args.output / 'without'}", soft_wrap=True)
    return 0
