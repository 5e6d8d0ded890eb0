"""What a pretraining tells while it runs."""

from __future__ import annotations

from pathlib import Path


class PretrainObserver:
    """Is told how it goes; every method may be left as it is."""

    def started(self, pairs: int, steps: int) -> None:
        """The data is open."""

    def resumed(self, step: int) -> None:
        """It goes on from a checkpoint."""

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        """A step is done; the loss is its own."""

    def measured(self, step: int, figures: dict[str, float]) -> None:
        """Measures on the held-out datasets."""

    def saved(self, path: Path) -> None:
        """A checkpoint was written."""

    def warning(self, sentence: str) -> None:
        """Something that the user should know."""
