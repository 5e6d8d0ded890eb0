"""Progress and result of a finetuning."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.progress import Observer


class FinetuneObserver(Observer):
    """Follows a finetuning; the phase "training" counts steps and shows their loss and learning rate.

    If there are several processes, only the first one has an observer.
    """

    def validated(self, step: int, figures: dict[str, float], sheet: Path, best: bool) -> None:
        """A validation has finished.

        Args:
            figures: measures on held-out pairs, by name.
            sheet: picture of those pairs: input, output, target and change.
            best: whether it is the best validation so far.
        """

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint is complete."""


@dataclass(frozen=True)
class FinetuneReport:
    """A finished finetuning.

    Attributes:
        output: the remover's folder.
        step: the step whose weights were kept.
        reason: why training ended, as a sentence.
        figures: measures of that step on held-out pairs.
        history: one dict per validation: `step` and the measures.
    """

    output: Path
    step: int
    reason: str
    figures: dict[str, float]
    history: list[dict[str, Any]] = field(default_factory=list)
