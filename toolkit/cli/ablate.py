"""``toolkit ablate``: what each part of an edit does to the results."""

from __future__ import annotations

import argparse

from toolkit.cli import evaluate as evaluate_verb
from toolkit.cli.compare import ConsoleObserver, add_settings
from toolkit.cli.options import read_grouped
from toolkit.compare.config import GROUPS, AblateConfig


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """`--config`, and every field of the config and of its groups."""
    add_settings(parser, AblateConfig)


def run(args: argparse.Namespace) -> int:
    """Run the variants, print the table and say where the report is; 1 if something could not be made or measured."""
    from toolkit.compare.engine import ablate

    config = read_grouped(AblateConfig, GROUPS, args)
    with ConsoleObserver() as observer:
        report = ablate(config, observer)
    return evaluate_verb.show(report, config.allow_failures)
