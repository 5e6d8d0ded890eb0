"""``toolkit fetch``: bring the weights of a backbone or an analyser into the cache ahead of time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from toolkit.cli.console import err, out, print_table


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """NAME..., `--parts`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; without a name, or as `list`: a list")
    parser.add_argument("--parts", nargs="+", metavar="PART", help="of a backbone only these, such as vae unet")
    parser.epilog = "Nothing else in the toolkit downloads. What broke off is continued when it is run again."


def run(args: argparse.Namespace) -> int:
    """Fetch each name, or list what can be fetched.

    Raises:
        UsageError: an unknown name or part; then nothing is fetched.
        ToolkitError: a download failed.
    """
    from toolkit.backbones import BACKBONES
    from toolkit.errors import UsageError
    from toolkit.fetch import DOWNLOADS
    from toolkit.validation import did_you_mean

    if not args.names or args.names == ["list"]:
        if args.parts:
            raise UsageError("--parts needs the name of a backbone, such as `toolkit fetch sd15 --parts vae unet`")
        print_table(("name", "what", "size", "licence", "where", "status"), _rows())
        return 0
    known = [*BACKBONES, *DOWNLOADS]
    for name in args.names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known are {', '.join(known)}"
            raise UsageError(f"there is nothing called {name!r} to fetch{hint}")
        if args.parts and name not in BACKBONES:
            raise UsageError(f"{name} has no parts: --parts is for a backbone")
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
        there = in_cache(spec)
        what = f"backbone: {', '.join(there)}"
        yield name, what, spec.download_size, spec.licence, str(_hub_cache()), _status(list(there.values()))
    for name, download in DOWNLOADS.items():
        folder = download.folder()
        there = [(folder / file.name).is_file() for file in download.files]
        yield name, download.description, download.size, download.licence, str(folder), _status(there)


def _status(there: list[bool]) -> str:
    return "ok" if all(there) else f"{sum(there)} of {len(there)}" if any(there) else "missing"


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
            came = fetch_file(file, folder, lambda done, total, update=update: update(completed=done, total=total))
        out.print(f"{name}: {folder / file.name}{'' if came else ' (was there already)'}", soft_wrap=True)
