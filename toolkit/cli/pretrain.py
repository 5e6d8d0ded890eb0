"""``toolkit pretrain``: train the embedded backbone, stage by stage."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.report import PretrainObserver


def configure(parser: Parser, argv: list[str]) -> None:
    """The backbone's name, and the settings."""
    parser.add_argument("name", metavar="BACKBONE", help="Backbone to train, such as nano.")
    add_settings(parser, PretrainConfig, argv, common=PretrainConfig.model_fields)
    parser.epilog = "docs/nano.md lists the commands that trained the shipped weights."


def run(args: argparse.Namespace) -> int:
    """Train a stage, and print the folder of the backbone."""
    from toolkit.pretrain.pretraining import pretrain

    with PretrainConsole() as observer:
        report = pretrain(args.name, read_settings(PretrainConfig, args), observer)
    out.print(f"backbone: {report.output}", soft_wrap=True)
    return 0


class PretrainConsole(ConsoleObserver, PretrainObserver):
    """Shows steps, losses, measures and checkpoints."""

    def measured(self, step: int, figures: dict[str, float]) -> None:
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items()))

    def saved(self, path: Path) -> None:
        self.say(f"saved {path}")
