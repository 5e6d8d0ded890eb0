"""``toolkit removers``: list removers, shipped and local, and show their cards."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from toolkit.cli.console import err, out, print_table
from toolkit.cli.help import Parser

DEPTH = 3
"""Levels of folders below the given one that are searched."""


def configure(parser: Parser, argv: list[str]) -> None:
    """FOLDER..., `--card`, `--backbone`."""
    parser.add_argument(
        "folder",
        nargs="*",
        type=Path,
        default=[Path()],
        metavar="FOLDER",
        help=f"Folders to search for local removers, {DEPTH} levels deep. If omitted, the current folder.",
    )
    parser.add_argument(
        "--card", metavar="REMOVER", help="Show the card of a task's remover, or of a remover in a folder."
    )
    parser.add_argument("--backbone", metavar="NAME", help="Show only removers for this backbone.")


def run(args: argparse.Namespace) -> int:
    """Print a table of removers, or one card.

    Raises:
        ToolkitError: there is no such remover.
    """
    if args.card:
        return _card(args.card, args.backbone)
    rows = []
    for task, backbone, folder in _found(args.folder):
        if args.backbone in (None, backbone):
            rows.append((task, backbone, *_figures(folder), str(folder)))
    if not rows:
        out.print("no remover found; train one with `toolkit finetune`")
        return 0
    print_table(("removes", "backbone", "pixels", "inside dB", "outside dB", "folder"), rows)
    out.print(
        "`toolkit removers --card TASK` (or FOLDER) shows how a remover was trained and what its limits are.",
        soft_wrap=True,
    )
    return 0


def _found(folders: list[Path]) -> list[tuple[str, str, Path]]:
    from toolkit.errors import ToolkitError
    from toolkit.remover import read_remover, shipped_removers
    from toolkit.remover.layout import RECORD

    found = [(shipped.task, shipped.backbone, shipped.folder) for shipped in shipped_removers()]
    known = {folder.resolve() for _, _, folder in found}
    for root in folders:
        for depth in range(DEPTH + 1):
            for record in sorted(root.glob("*/" * depth + RECORD)):
                folder = record.parent
                if folder.resolve() in known:
                    continue
                known.add(folder.resolve())
                try:
                    remover = read_remover(folder, verify=False).record
                except ToolkitError as error:
                    err.print(f"warning: {error}", soft_wrap=True)
                    continue
                found.append((", ".join(remover.tasks), str(remover.backbone.get("name")), folder))
    return found


def _figures(folder: Path) -> tuple[str, str, str]:
    from toolkit.errors import ToolkitError
    from toolkit.remover import read_remover

    try:
        record = read_remover(folder, verify=False).record
    except ToolkitError as error:
        err.print(f"warning: {error}", soft_wrap=True)
        return "", "", ""
    inside, outside = (
        "" if (value := record.held_out.get(name)) is None else f"{value:.1f}"
        for name in ("psnr_inside", "psnr_outside")
    )
    return str(record.resolution), inside, outside


def _card(name: str, backbone: str | None) -> int:
    from toolkit.errors import InputError, UsageError
    from toolkit.files import LARGEST_TEXT, check_plain
    from toolkit.registry import bare_name, entry
    from toolkit.remover import read_remover, shipped_removers
    from toolkit.remover.layout import CARD

    wanted = name
    with suppress(UsageError):  # a folder, or a name that several distributions offer
        wanted = entry(name).qualified
    of_task = [one for one in shipped_removers() if wanted in (one.qualified, bare_name(one.task))]
    labels = sorted({one.task for one in of_task})
    if len(labels) > 1:
        raise UsageError(f"several distributions offer the task {name!r}: use {' or '.join(labels)}")
    shipped = [one for one in of_task if backbone in (None, one.backbone)]
    if len(shipped) > 1:
        backbones = ", ".join(one.backbone for one in shipped)
        raise UsageError(f"the task {name} has removers for {backbones}; choose one with --backbone")
    if not shipped and not Path(name).is_dir():
        raise UsageError(
            f"{name!r} is neither a task with a remover nor the folder of one; `toolkit removers` lists them"
        )
    remover = read_remover(shipped[0].folder if shipped else Path(name), verify=False)
    try:
        check_plain(remover.folder / CARD, LARGEST_TEXT)
        text = (remover.folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"the card {remover.folder / CARD} cannot be read: {error}") from error
    out.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0
