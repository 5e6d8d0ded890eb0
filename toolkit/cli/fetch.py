"""``toolkit fetch``: download the weights of a backbone, an analyser or a metric."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.cli.console import err, out, print_table


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """NAME..., `--parts`."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="Weights to download. Without a name, or with `list`, show what is available.",
    )
    parser.add_argument(
        "--parts",
        nargs="+",
        action="extend",
        metavar="PART",
        help="Download only these parts of a backbone, such as `vae unet`.",
    )
    parser.epilog = "No other command downloads anything. Interrupted downloads resume."


def run(args: argparse.Namespace) -> int:
    """Download each name, or list what is available.

    Raises:
        UsageError: a name or part is unknown; nothing is downloaded then.
        ToolkitError: a download failed.
    """
    from toolkit.backbones import BACKBONES
    from toolkit.errors import UsageError
    from toolkit.fetch import DOWNLOADS
    from toolkit.validation import did_you_mean

    if not args.names or args.names == ["list"]:
        if args.parts:
            raise UsageError("--parts needs the name of a backbone, such as `toolkit fetch sd15 --parts vae unet`")
        print_table(("name", "content", "size", "licence", "folder", "status"), _rows())
        return 0
    known = [*BACKBONES, *DOWNLOADS]
    for name in args.names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known are {', '.join(known)}"
            raise UsageError(f"there is nothing called {name!r} to fetch{hint}")
        if args.parts and name not in BACKBONES:
            raise UsageError(f"{name} has no parts; --parts works only with a backbone")
    for name in dict.fromkeys(args.names):
        if name in BACKBONES:
            _fetch_backbone(name, args.parts)
        else:
            _fetch_download(name)
    return 0


def _rows() -> Iterator[tuple[str, ...]]:
    from toolkit.backbones import BACKBONES
    from toolkit.backbones.locations import in_cache
    from toolkit.fetch import DOWNLOADS

    for name, spec in BACKBONES.items():
        parts = in_cache(spec)
        content = f"backbone: {', '.join(parts)}"
        yield name, content, spec.download_size, spec.licence, str(_hub_cache()), _status(list(parts.values()))
    for name, download in DOWNLOADS.items():
        folder = download.folder()
        present = [(folder / file.name).is_file() for file in download.files]
        yield name, download.description, download.size, download.licence, str(folder), _status(present)


def _status(present: list[bool]) -> str:
    return "ok" if all(present) else f"{sum(present)} of {len(present)}" if any(present) else "missing"


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _fetch_backbone(name: str, parts: list[str] | None) -> None:
    from toolkit.backbones import BACKBONES
    from toolkit.fetch import fetch_backbone

    folders = fetch_backbone(BACKBONES[name], parts)
    out.print(f"{name}: {len(folders)} parts in {_hub_cache()}", soft_wrap=True)


def _fetch_download(name: str) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from toolkit.fetch import DOWNLOADS, fetch_file

    download = DOWNLOADS[name]
    folder = download.folder()
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    for file in download.files:
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
            update = partial(bar.update, bar.add_task(file.name, total=None))
            downloaded = fetch_file(
                file, folder, lambda done, total, update=update: update(completed=done, total=total)
            )
        out.print(f"{name}: {folder / file.name}{'' if downloaded else ' (already present)'}", soft_wrap=True)
