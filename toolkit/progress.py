"""How long work reports what it does: one observer for every command."""

from __future__ import annotations


class Observer:
    """Follows long work; the base class shows nothing. A command line, a page or a notebook overrides what it needs.

    A command adds its own results in a subclass, such as a finished video or a validation sheet.
    """

    def phase(self, name: str, total: int | None, unit: str, done: int = 0) -> None:
        """A part of the work begins.

        Args:
            name: what is done, such as "finding faces".
            total: how many units there are; None if unknown.
            unit: what is counted, in the plural, such as "frames".
            done: units that an earlier run finished.
        """

    def advance(self, done: int, **figures: float) -> None:
        """Part of the phase is done.

        Args:
            done: units finished since the phase began, in all.
            figures: current values worth showing, such as a loss.
        """

    def item(self, name: str, number: int, count: int) -> None:
        """Work on the `number`-th of `count` items begins, such as a video or a method."""

    def note(self, sentence: str) -> None:
        """Something worth knowing that needs no action, such as where an interrupted run resumes."""

    def warning(self, sentence: str) -> None:
        """Something that the user should look at."""

    def failed(self, name: str, sentence: str) -> None:
        """An item failed for a foreseen reason; the rest continues."""

    def bug(self, name: str, details: str) -> None:
        """An item failed for an unforeseen reason; `details` holds the traceback."""
