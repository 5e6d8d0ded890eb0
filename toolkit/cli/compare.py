"""``toolkit compare``: runs several methods on the same videos and prints one table."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli import evaluate as evaluate_verb
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.compare.comparison import CompareObserver
from toolkit.compare.config import HIDDEN, CompareConfig
from toolkit.edit.report import EditObserver, EditReport
from toolkit.evaluate.evaluation import EvaluateObserver

COMMON = {"videos", "task", "remover", "output", "baselines", "outputs", "checkouts", "backbone", "target"}
COMMON |= {"device", "seed", "workers"}
"""Settings that ``--help`` shows."""

WITHOUT_FLAG = [f"{group}.{name}" for group, names in HIDDEN.items() for name in names]


def configure(parser: Parser, argv: list[str]) -> None:
    """Add the settings."""
    add_settings(parser, CompareConfig, argv, common=COMMON, exclude=WITHOUT_FLAG)


def run(args: argparse.Namespace) -> int:
    """Run the methods, print the table and the report's path; returns 1 if a video could not be made or measured."""
    from toolkit.compare.comparison import compare

    config = read_settings(CompareConfig, args)
    with MethodsObserver() as observer:
        report = compare(config, observer)
    return evaluate_verb.show(report, config.allow_failures)


class MethodsObserver(ConsoleObserver, CompareObserver):
    """Names each method as it begins; edits and measuring show their progress on the same bar."""

    def item(self, name: str, number: int, count: int) -> None:
        self.say(f"method {number} of {count}: {name}")

    def edits(self) -> EditObserver:
        return _Edits(self.bar)

    def measures(self) -> EvaluateObserver:
        return evaluate_verb.MeasuringObserver(self.bar)


class _Edits(ConsoleObserver, EditObserver):
    """Leaves out warnings and summaries of single edits; the report beside each video has them."""

    def item(self, name: str, number: int, count: int) -> None:
        self.say(f"  video {number} of {count}: {name}")

    def warning(self, sentence: str) -> None:
        return

    def finished(self, report: EditReport, target: Path) -> None:
        return
