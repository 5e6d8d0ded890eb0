"""Draws removal and artefact over a training, to show why it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#555555"
"""From the palette of Okabe and Ito, which colour-blind people can tell apart."""


PARTS = (
    ("blur", "-", "blur"),
    ("agreement", "-.", "agreement"),
    ("outside", ":", "outside (does not count)"),
    ("eye_holes", (0, (1, 4)), "eye holes (do not count)"),
)
"""Kinds of damage of imperfect pairs, with the style and the label of their lines."""


def render_curve(
    history: Sequence[tuple[int, float, float]],
    best_step: int,
    reason: str,
    artefact_weight: float,
    figures: Mapping[int, Mapping[str, float]] | None = None,
) -> bytes:
    """Draw removal and artefact over the steps, and removal over artefact with the tangent at the best step.

    The parts of the artefact are drawn as thin lines, if they are known.

    Args:
        history: step, removal and artefact of each validation.
        best_step: the step that was kept, one of the history's.
        reason: why training ended; the title.
        artefact_weight: slope of the tangent.
        figures: measures of each validation by step, for the parts.

    Returns:
        A PNG; the same input gives the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figures = figures or {}
    steps, removal, artefact = zip(*history)
    best = steps.index(best_step)
    figure = Figure(figsize=(9.6, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(reason, fontsize=8, color=GREY, wrap=True)
    time, plane = figure.subplots(1, 2)
    time.plot(steps, removal, "o-", color=BLUE, markersize=3, label="removal")
    time.plot(steps, artefact, "s--", color=ORANGE, markersize=3, label="artefact")
    for name, style, label in PARTS:
        known = [(step, figures[step][name]) for step in steps if name in figures.get(step, {})]
        if known and any("agreement" in values for values in figures.values()):  # else the artefact has a single part
            time.plot(*zip(*known), linestyle=style, color=ORANGE, alpha=0.6, linewidth=1, label=label)
    time.axvline(best_step, color=GREY, linewidth=1, linestyle=":", label=f"kept: step {best_step}")
    time.set_xlabel("step")
    time.legend(frameon=False, fontsize=8)
    plane.plot(artefact, removal, "o-", color=GREY, markersize=3, linewidth=1)
    plane.plot(artefact[best], removal[best], "o", color=BLUE, markersize=8, label=f"kept: step {best_step}")
    plane.annotate(f"step {steps[0]}", (artefact[0], removal[0]), fontsize=7, xytext=(4, 4), textcoords="offset points")
    limits = plane.get_xlim(), plane.get_ylim()
    plane.axline(
        (artefact[best], removal[best]),
        slope=artefact_weight,
        color=ORANGE,
        linewidth=1,
        linestyle="--",
        label=f"slope {artefact_weight:g}: artefacts outweigh gains below",
    )
    plane.set_xlim(limits[0])
    plane.set_ylim(limits[1])
    plane.set_xlabel("artefact")
    plane.set_ylabel("removal")
    plane.legend(frameon=False, fontsize=8)
    for axes in (time, plane):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    packed = BytesIO()
    figure.savefig(packed, format="png", metadata={"Software": None})
    return packed.getvalue()
