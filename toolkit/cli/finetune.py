"""``toolkit finetune``: train a remover on datasets of pairs."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from toolkit.cli.console import out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.finetune.config import FinetuneConfig
from toolkit.finetune.report import FinetuneObserver, FinetuneReport

COMMON = {"data", "output", "preset", "recipe", "backbone", "init", "max_train_steps"}
COMMON |= {
    "train_batch_size",
    "learning_rate",
    "mixed_precision",
    "gradient_checkpointing",
    "validation_steps",
    "early_stopping",
}
COMMON |= {"resume_from_checkpoint", "report_to", "cpu", "seed"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, FinetuneConfig, argv, common=COMMON)
    parser.epilog = "To train on several GPUs, run `accelerate launch -m toolkit finetune ...`."


def run(args: argparse.Namespace) -> int:
    """Train, and print the measures and the folder of the remover."""
    from toolkit.finetune.finetuning import finetune

    with FinetuneConsole() as observer:
        report = finetune(read_settings(FinetuneConfig, args), observer)
    if report is not None:
        summarise(report)
    return 0


def summarise(report: FinetuneReport) -> None:
    """Print the result and its folder."""
    out.print(f"kept step {report.step}: {report.reason}", soft_wrap=True)
    out.print(f"on held-out pairs: {_figures(report.figures)}", soft_wrap=True)
    out.print(f"curve: {report.output / 'images' / 'curve.png'}", soft_wrap=True)
    out.print(f"remover: {report.output}", soft_wrap=True)


def _figures(figures: dict[str, float]) -> str:
    shown = {
        "removal": "removal {:.2f}",
        "artefact": "artefact {:.3f}",
        "psnr_inside": "PSNR {:.1f} dB inside the mask",
        "psnr_outside": "{:.1f} dB outside",
        "loss": "loss {:.4f}",
    }
    return ", ".join(
        text.format(figures[name])
        for name, text in shown.items()
        if figures.get(name) is not None and math.isfinite(figures[name])
    )


class FinetuneConsole(ConsoleObserver, FinetuneObserver):
    """Shows steps, losses and validations."""

    def validated(self, step: int, figures: dict[str, float], sheet: Path, best: bool) -> None:
        mark = ", the best so far" if best else ""
        self.say(f"step {step}: {_figures(figures)}{mark}; {sheet}")
