"""``toolkit make-people``: portraits in, videos of people who do not exist out."""

from __future__ import annotations

import argparse

from toolkit.cli.console import err, out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.portraits.making import PeopleConfig


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Every field of the config."""
    add_arguments(parser, PeopleConfig)
    parser.epilog = "Use portraits of people who agreed, with a licence that allows it."


def run(args: argparse.Namespace) -> int:
    """Make what is missing, and say where it is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from toolkit.portraits.making import make_people

    config = from_arguments(PeopleConfig, args)
    columns = TextColumn("making people"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        bar = progress.add_task("people", total=None)
        made = make_people(config, lambda done, count: progress.update(bar, completed=done, total=count))
    out.print(f"{config.clips} videos in {config.output} ({made} made now)", soft_wrap=True)
    return 0
