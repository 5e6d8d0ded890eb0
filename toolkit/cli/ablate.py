"""``toolkit ablate``: varies one setting of an edit at a time and prints one table."""

from __future__ import annotations

import argparse

from toolkit.cli import evaluate as evaluate_verb
from toolkit.cli.compare import WITHOUT_FLAG, MethodsObserver
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.compare.config import AblateConfig

COMMON = {"videos", "task", "remover", "output", "preset", "variants", "backbone", "target"}
COMMON |= {"device", "seed", "workers"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """Add the settings."""
    add_settings(parser, AblateConfig, argv, common=COMMON, exclude=WITHOUT_FLAG)


def run(args: argparse.Namespace) -> int:
    """Run the variants, print the table and the report's path; returns 1 if a video could not be made or measured."""
    from toolkit.compare.comparison import ablate

    config = read_settings(AblateConfig, args)
    with MethodsObserver() as observer:
        report = ablate(config, observer)
    return evaluate_verb.show(report, config.allow_failures)
