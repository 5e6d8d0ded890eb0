"""Decides when to stop: at the knee, beyond which training costs more in artefacts than it gains in removal."""

from __future__ import annotations

import math
from typing import Any

from toolkit.errors import ToolkitError


class EarlyStopping:
    """Follows removal r and artefact a over the validations, and finds the best validation.

    The score is r - w a, where w is the weight of an artefact. During training it is largest where dr = w da, that is,
    where the curve of removal over artefact has the slope w. Before this knee a step gains more removal than it costs
    in artefacts, after it less. Of nearly equal validations the earliest is kept.

    Args:
        patience: validations without improvement after which to stop.
        min_delta: margin by which a score must beat the best one.
        artefact_weight: w, at least 0.
    """

    def __init__(self, patience: int, min_delta: float, artefact_weight: float):
        self.patience, self.min_delta, self.artefact_weight = patience, min_delta, artefact_weight
        self.history: list[tuple[int, float, float]] = []
        self.best_step: int | None = None
        self._best_score = -math.inf
        self._waited = 0
        self._uncounted: list[int] = []

    def score(self, removal: float, artefact: float) -> float:
        """The value to maximise."""
        return removal - self.artefact_weight * artefact

    def update(self, step: int, removal: float, artefact: float, counted: bool = True) -> bool:
        """Add a validation, and return whether it is the best so far.

        Args:
            counted: whether the validation uses up patience if it is not an improvement.

        Raises:
            ToolkitError: a value is not finite.
        """
        if not (math.isfinite(removal) and math.isfinite(artefact)):
            raise ToolkitError(
                f"the held-out pairs at step {step} gave removal {removal} and artefact {artefact}; they need masks in "
                "which the two pictures differ. Build the dataset from more videos."
            )
        self.history.append((step, removal, artefact))
        score = self.score(removal, artefact)
        better = score > self._best_score + self.min_delta
        if better:
            self.best_step, self._best_score, self._waited = step, score, 0
        elif counted:
            self._waited += 1
        if not counted:
            self._uncounted.append(step)
        return better

    @property
    def stop(self) -> bool:
        """Whether `patience` validations passed without improvement."""
        return self._waited >= self.patience

    @property
    def reason(self) -> str:
        """The current state, as a sentence."""
        if self.best_step is None:
            return "there was no validation"
        best = f"the best was step {self.best_step}"
        if not self.stop:
            return f"{best}, and {self._waited} of {self.patience} validations passed without improvement"
        at = [step for step, _, _ in self.history].index(self.best_step)
        removal, artefact = (values[-1] - values[at] for values in list(zip(*self.history))[1:])
        return (
            f"{self.patience} validations after step {self.best_step} brought no improvement: removal changed by "
            f"{removal:+.3f} and artefact by {artefact:+.3f}"
        )

    def state(self) -> dict[str, Any]:
        """The whole state, as JSON values."""
        return {
            "patience": self.patience,
            "min_delta": self.min_delta,
            "artefact_weight": self.artefact_weight,
            "history": [list(entry) for entry in self.history],
            "uncounted": list(self._uncounted),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], patience: int | None = None) -> EarlyStopping:
        """Restore an object from its `state`, with another patience if one is given."""
        stopping = cls(patience or state["patience"], state["min_delta"], state["artefact_weight"])
        for step, removal, artefact in state["history"]:
            stopping.update(step, removal, artefact, counted=step not in state["uncounted"])
        return stopping
