"""``toolkit evaluate``: originals and edited videos in, the paper's table out."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from toolkit.cli.console import err, out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.evaluate.config import EvaluateConfig
from toolkit.evaluate.engine import EvaluateObserver, EvaluateReport
from toolkit.evaluate.results import VideoResult

COMMON = {"original", "edited", "target", "task", "output", "identity", "arcface", "flow", "analyser", "clips"}
COMMON |= {"device", "workers"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, EvaluateConfig, argv, common=COMMON)


def run(args: argparse.Namespace) -> int:
    """Measure, print the table and say where the report is; 1 if a video could not be measured."""
    from toolkit.evaluate.engine import evaluate

    config = read_settings(EvaluateConfig, args)
    with ConsoleObserver() as observer:
        report = evaluate(config, observer)
    return show(report, config.allow_failures)


def show(report: EvaluateReport, allow_failures: bool) -> int:
    """Print the table, what measured, and where the report is; the exit code."""
    from toolkit.evaluate.tables import terminal

    out.print(terminal(report.evaluation))
    for name, tool in report.evaluation.tools.items():
        out.print(f"{name}: {tool}", soft_wrap=True)
    out.print(f"report: {report.output / 'index.html'}", soft_wrap=True)
    return 1 if report.failed and not allow_failures else 0


class ConsoleObserver(EvaluateObserver):
    """A progress bar on a terminal; what cannot be measured is said as it comes."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("measuring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("videos"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._bar = self._progress.add_task("measuring", total=None)

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, videos: int) -> None:
        self._progress.update(self._bar, total=videos)

    def measured(self, name: str, results: Mapping[str, VideoResult]) -> None:
        self._progress.advance(self._bar)
        for method, result in results.items():
            if result.failed:
                err.print(f"not measured: {name}, {method}: {result.failed}", soft_wrap=True)

    def failed(self, name: str, sentence: str) -> None:
        self._progress.advance(self._bar)
        err.print(f"not measured: {name}: {sentence}", soft_wrap=True)

    def bug(self, name: str, details: str) -> None:
        err.print(f"{name}:\n{details}", soft_wrap=True)
