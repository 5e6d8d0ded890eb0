"""What a finetuning tells while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.finetune.datasets import TrainingSet


class FinetuneObserver:
    """Follows a finetuning; the base class says nothing. A command line or a notebook overrides what it shows.

    With several processes only the first one has an observer.
    """

    def started(self, datasets: Sequence[TrainingSet], steps: int) -> None:
        """The datasets are open; training ends after so many steps at the latest."""

    def checking(self, dataset: Path) -> None:
        """A dataset is read as a whole."""

    def encoding(self, done: int, total: int) -> None:
        """Pictures that are in the cache."""

    def resumed(self, step: int) -> None:
        """Training goes on from a checkpoint."""

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        """One more step is done."""

    def validated(self, step: int, figures: dict[str, float], grid: Path, best: bool) -> None:
        """The remover was tried on held-out pairs; `grid` is a sheet of them."""

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint is complete."""

    def warning(self, sentence: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class FinetuneReport:
    """A finished finetuning.

    Attributes:
        output: the remover's folder.
        step: the step whose weights were kept.
        reason: why training ended, a sentence.
        figures: the measures of that step on held-out pairs.
        history: one dict per validation, `step` and the measures.
    """

    output: Path
    step: int
    reason: str
    figures: dict[str, float]
    history: list[dict[str, Any]] = field(default_factory=list)
