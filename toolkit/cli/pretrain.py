"""``toolkit pretrain``: train the embedded backbone, stage by stage."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli.console import out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.cli.progress import ConsoleObserver
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.report import PretrainObserver


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """The backbone's name, and every field of the config."""
    parser.add_argument("name", metavar="BACKBONE", help="which one, such as nano")
    add_arguments(parser, PretrainConfig)
    parser.epilog = "docs/nano.md has the commands that the shipped weights came from."


def run(args: argparse.Namespace) -> int:
    """Train a stage, and print the folder of the backbone."""
    from toolkit.pretrain.pretraining import pretrain

    with PretrainConsole() as observer:
        report = pretrain(args.name, from_arguments(PretrainConfig, args), observer)
    out.print(f"backbone: {report.output}", soft_wrap=True)
    return 0


class PretrainConsole(ConsoleObserver, PretrainObserver):
    """Shows steps, losses, measures and checkpoints."""

    def measured(self, step: int, figures: dict[str, float]) -> None:
        self.say(f"step {step}: " + ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items()))

    def saved(self, path: Path) -> None:
        self.say(f"saved {path}")
