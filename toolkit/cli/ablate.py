"""``toolkit ablate``: what each part of an edit does to the results."""

from __future__ import annotations

import argparse

from toolkit.cli import evaluate as evaluate_verb
from toolkit.cli.compare import WITHOUT_FLAG, ConsoleObserver
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.compare.config import AblateConfig

COMMON = {"videos", "task", "remover", "output", "variants", "backbone", "target", "device", "seed", "workers"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, AblateConfig, argv, common=COMMON, exclude=WITHOUT_FLAG)


def run(args: argparse.Namespace) -> int:
    """Run the variants, print the table and say where the report is; 1 if something could not be made or measured."""
    from toolkit.compare.engine import ablate

    config = read_settings(AblateConfig, args)
    with ConsoleObserver() as observer:
        report = ablate(config, observer)
    return evaluate_verb.show(report, config.allow_failures)
