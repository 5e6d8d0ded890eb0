"""``toolkit evaluate``: measures edited videos against their originals and prints the paper's table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from toolkit.cli.console import out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.evaluation import EvaluateObserver, EvaluateReport
from toolkit.evaluate.results import VideoResult

COMMON = {"original", "edited", "target", "task", "output", "identity", "arcface", "flow", "analyser", "clips"}
COMMON |= {"device", "workers", "strict"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """Add the settings."""
    add_settings(parser, EvaluateConfig, argv, common=COMMON)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and the report's path; returns 1 if a video could not be measured."""
    from toolkit.evaluate.evaluation import evaluate

    config = read_settings(EvaluateConfig, args)
    with MeasuringObserver() as observer:
        report = evaluate(config, observer)
    return show(report, config.allow_failures)


def show(report: EvaluateReport, allow_failures: bool) -> int:
    """Print the table, the tools that measured and the report's path; returns the exit code."""
    from toolkit.evaluate.tables import terminal

    out.print(terminal(report.evaluation))
    for name, tool in report.evaluation.tools.items():
        out.print(f"{name}: {tool}", soft_wrap=True)
    out.print(f"report: {report.output / 'index.html'}", soft_wrap=True)
    return 1 if report.failed and not allow_failures else 0


class MeasuringObserver(ConsoleObserver, EvaluateObserver):
    """Shows progress, and each edited video that cannot be measured."""

    def measured(self, name: str, results: Mapping[str, VideoResult]) -> None:
        for method, result in results.items():
            if result.failed:
                self.failed(f"{name}, {method}", result.failed)

    def failed(self, name: str, sentence: str) -> None:
        self.say(f"not measured: {name}: {' '.join(sentence.split())}")
