"""``toolkit make-people``: makes videos of people who do not exist, from portraits."""

from __future__ import annotations

import argparse

from toolkit.cli.console import out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.portraits.making import PeopleConfig
from toolkit.words import counted


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, PeopleConfig, argv, common=PeopleConfig.model_fields)
    parser.epilog = "Use only portraits whose licence allows it, of people who consented."


def run(args: argparse.Namespace) -> int:
    """Make the missing videos and print where they are."""
    from toolkit.portraits.making import make_people

    config = read_settings(PeopleConfig, args)
    with ConsoleObserver() as observer:
        count = make_people(config, observer)
    out.print(f"{counted(config.clips, 'videos')} in {config.output} ({count} new)", soft_wrap=True)
    return 0
