"""Progress and result of a pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.progress import Observer


class PretrainObserver(Observer):
    """Follows a pretraining; the phase "training" counts steps and shows their loss and learning rate."""

    def measured(self, step: int, figures: dict[str, float]) -> None:
        """The held-out datasets were measured at a checkpoint.

        Args:
            figures: PSNR in dB inside and outside the masks, by the name of the dataset.
        """

    def saved(self, path: Path) -> None:
        """A checkpoint is complete."""


@dataclass(frozen=True)
class PretrainReport:
    """A finished stage.

    Attributes:
        output: the backbone's folder.
        steps: steps of the stage.
        figures: the last measures on the held-out datasets; empty if there are none.
    """

    output: Path
    steps: int
    figures: dict[str, float]
