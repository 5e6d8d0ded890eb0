"""The paper's table: for a terminal, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from toolkit.evaluate.results import Column, Evaluation, Mean

if TYPE_CHECKING:
    from rich.table import Table

NONE = "n/a"


def heading(column: Column) -> str:
    """The label with its unit, such as ``E_warp (1e-4)`` or ``PSNR (dB)``."""
    notes = [column.suffix] if column.suffix else []
    if column.unit != 1:
        notes.insert(0, f"1e{round(math.log10(column.unit))}")
    return f"{column.label} ({' '.join(notes)})" if notes else column.label


def number(value: float | None, column: Column) -> str:
    """A value in the column's unit; ``inf`` and ``n/a`` where it is none."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value / column.unit:.{column.digits}f}"


def best(evaluation: Evaluation, column: Column) -> set[str]:
    """The methods whose mean is the best of a column, as it is printed; none where all are the same."""
    printed = {
        method: number(row[column.name].value, column)
        for method, row in evaluation.means.items()
        if row[column.name].value is not None
    }
    if len(set(printed.values())) < 2:
        return set()
    choose = max if column.better == "higher" else min
    first = choose(printed.values(), key=float)
    return {method for method, text in printed.items() if text == first}


def terminal(evaluation: Evaluation) -> Table:
    """One row a method: means over videos, with 95 % intervals; the best in bold."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{evaluation.task}: means over videos, 95 % intervals", title_justify="left")
    table.add_column("method")
    for column in evaluation.columns:
        table.add_column(Text(heading(column) + (" +" if column.better == "higher" else " -")), justify="right")
    winners = {column.name: best(evaluation, column) for column in evaluation.columns}
    for method in evaluation.methods:
        cells = [Text(method.name)]
        for column in evaluation.columns:
            style = "bold" if method.name in winners[column.name] else ""
            cells.append(Text(_cell(evaluation.means[method.name][column.name], column), style=style))
        table.add_row(*cells)
    return table


def _cell(mean: Mean, column: Column) -> str:
    text = number(mean.value, column)
    if mean.low is None or mean.high is None:
        return text
    return f"{text} [{number(mean.low, column)}, {number(mean.high, column)}]"


def csv_text(evaluation: Evaluation) -> str:
    """Every video and the means, in plain numbers without units; empty where nothing could be measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [column.name for column in evaluation.columns]
    writer.writerow(["method", "video", "frames", "frames_without_face", *names, "note"])
    for method in evaluation.methods:
        for video in method.videos:
            values = ["" if video.values.get(name) is None else repr(video.values[name]) for name in names]
            note = video.failed or "; ".join(video.notes)
            writer.writerow([method.name, video.name, video.frames, video.frames_without_face, *values, note])
        for row, part in (("mean", "value"), ("low", "low"), ("high", "high")):
            found = [getattr(evaluation.means[method.name][name], part) for name in names]
            frames = sum(video.frames for video in method.videos)
            without = sum(video.frames_without_face for video in method.videos)
            cells = ["" if value is None else repr(value) for value in found]
            writer.writerow([method.name, f"({row})", frames, without, *cells, ""])
    return text.getvalue()


_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def latex(evaluation: Evaluation) -> str:
    """A table for booktabs; the best of each column is bold, intervals stand small below."""

    def head(column: Column) -> str:
        arrow = r"$\uparrow$" if column.better == "higher" else r"$\downarrow$"
        unit = f" $(10^{{{round(math.log10(column.unit))}}})$" if column.unit != 1 else ""
        suffix = f" ({column.suffix.translate(_LATEX)})" if column.suffix else ""
        return f"{column.label.translate(_LATEX)}{unit}{suffix} {arrow}"

    def cell(method: str, column: Column) -> str:
        mean = evaluation.means[method][column.name]
        text = number(mean.value, column).replace("inf", r"$\infty$")
        if method in winners[column.name]:
            text = rf"\textbf{{{text}}}"
        if mean.low is not None and mean.high is not None:
            text += rf" {{\scriptsize [{number(mean.low, column)}, {number(mean.high, column)}]}}"
        return text.replace("-inf", r"$-\infty$")

    winners = {column.name: best(evaluation, column) for column in evaluation.columns}
    lines = [
        "% Needs \\usepackage{booktabs}. Means over videos with 95 % bootstrap intervals.",
        rf"\begin{{tabular}}{{l{'r' * len(evaluation.columns)}}}",
        r"\toprule",
        " & ".join(["method", *map(head, evaluation.columns)]) + r" \\",
        r"\midrule",
    ]
    for method in evaluation.methods:
        cells = [cell(method.name, column) for column in evaluation.columns]
        lines.append(" & ".join([method.name.translate(_LATEX), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
