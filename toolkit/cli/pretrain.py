"""``toolkit pretrain``: datasets in, a part of an embedded backbone out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from toolkit.cli.console import err, out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.pretrain.config import PretrainConfig
from toolkit.pretrain.report import PretrainObserver

_LINE_SECONDS = 30
"""Between two lines of progress."""


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """The backbone's name, and every field of the config."""
    parser.add_argument("name", metavar="BACKBONE", help="which one, such as nano")
    add_arguments(parser, PretrainConfig)
    parser.epilog = "docs/nano.md has the commands that the shipped weights came from."


def run(args: argparse.Namespace) -> int:
    """Train and say where the backbone is."""
    from toolkit.pretrain.pretraining import pretrain

    report = pretrain(args.name, from_arguments(PretrainConfig, args), ConsoleObserver())
    out.print(f"backbone: {report.output}", soft_wrap=True)
    return 0


class ConsoleObserver(PretrainObserver):
    """A line now and then: step, loss, rate, steps per second, time left."""

    def __init__(self) -> None:
        self._steps = self._first = 0
        self._begun = self._said = time.monotonic()
        self._losses: list[float] = []

    def started(self, pairs: int, steps: int) -> None:
        self._steps = steps
        err.print(f"{pairs} pairs to train on, {steps} steps", soft_wrap=True)

    def resumed(self, step: int) -> None:
        err.print(f"going on from step {step}")

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        now = time.monotonic()
        if not self._losses and not self._first:
            self._first, self._begun = step, now  # how long this one took is not known
        self._losses.append(loss)
        if now - self._said < _LINE_SECONDS and step < self._steps:
            return
        speed = max(step - self._first, 1) / max(now - self._begun, 1e-9)
        mean = sum(self._losses) / len(self._losses)
        left = (self._steps - step) / speed / 60
        err.print(
            f"step {step} of {self._steps}  loss {mean:.5f}  rate {learning_rate:.1e}  {speed:.2f} steps/s  "
            f"{left:.0f} min left",
            soft_wrap=True,
        )
        self._said, self._losses = now, []

    def measured(self, step: int, figures: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.2f} dB" for name, value in figures.items())
        err.print(f"step {step}: {shown}", soft_wrap=True)

    def saved(self, path: Path) -> None:
        err.print(f"saved {path}", soft_wrap=True)

    def warning(self, sentence: str) -> None:
        err.print(f"warning: {sentence}", soft_wrap=True)
