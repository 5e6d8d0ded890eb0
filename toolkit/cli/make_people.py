"""``toolkit make-people``: makes videos of people who do not exist, from portraits."""

from __future__ import annotations

import argparse

from toolkit.cli.console import out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.cli.progress import ConsoleObserver
from toolkit.portraits.making import PeopleConfig


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Every field of the config."""
    add_arguments(parser, PeopleConfig)
    parser.epilog = "Use only portraits whose licence allows it, of people who agreed."


def run(args: argparse.Namespace) -> int:
    """Make the missing videos and print where they are."""
    from toolkit.portraits.making import make_people

    config = from_arguments(PeopleConfig, args)
    with ConsoleObserver() as observer:
        count = make_people(config, observer)
    out.print(f"{config.clips} videos in {config.output} ({count} new)", soft_wrap=True)
    return 0
