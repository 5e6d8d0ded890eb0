"""``toolkit compare`` and ``toolkit ablate``: methods, or variants of our settings, side by side on the same videos."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.cli import edit as edit_verb
from toolkit.cli import evaluate as evaluate_verb
from toolkit.cli.console import err
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.compare.config import HIDDEN, CompareConfig
from toolkit.compare.engine import CompareObserver
from toolkit.edit.report import EditObserver, EditReport
from toolkit.evaluate.engine import EvaluateObserver

COMMON = {"videos", "task", "remover", "output", "baselines", "outputs", "checkouts", "backbone", "target"}
COMMON |= {"device", "seed", "workers"}
"""Settings that ``--help`` shows."""

WITHOUT_FLAG = [f"{group}.{name}" for group, names in HIDDEN.items() for name in names]


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, CompareConfig, argv, common=COMMON, exclude=WITHOUT_FLAG)


def run(args: argparse.Namespace) -> int:
    """Run the methods, print the table and say where the report is; 1 if something could not be made or measured."""
    from toolkit.compare.engine import compare

    config = read_settings(CompareConfig, args)
    with ConsoleObserver() as observer:
        report = compare(config, observer)
    return evaluate_verb.show(report, config.allow_failures)


class ConsoleObserver(CompareObserver):
    """Says which method begins; single videos have the progress bars of `toolkit edit` and `toolkit evaluate`."""

    def __init__(self) -> None:
        self._edits, self._measures = _Edits(), evaluate_verb.ConsoleObserver()

    def __enter__(self) -> ConsoleObserver:
        self._edits.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._edits.__exit__(*error)
        self._measures.__exit__(*error)

    def left_out(self, name: str, sentence: str) -> None:
        err.print(f"left out: {name}: {sentence}", soft_wrap=True)

    def method(self, name: str, number: int, count: int) -> None:
        err.print(f"method {number} of {count}: {name}", soft_wrap=True)

    def failed(self, name: str, source: Path, error: Exception) -> None:
        err.print(f"failed: {name}: {source}: {' '.join(str(error).split())}", soft_wrap=True)

    def bug(self, name: str, details: str) -> None:
        err.print(details, soft_wrap=True)

    def edits(self) -> EditObserver:
        return self._edits

    def measures(self) -> EvaluateObserver:
        self._edits.__exit__()
        self._measures.__enter__()
        return self._measures


class _Edits(edit_verb.ConsoleObserver):
    """What is said of a single edit would be too much here; its report lies beside the video."""

    def video(self, source: Path, target: Path, number: int, count: int) -> None:
        err.print(f"  video {number} of {count}: {source.name}", soft_wrap=True)

    def warning(self, sentence: str) -> None:
        return

    def finished(self, report: EditReport, target: Path) -> None:
        return
