"""Formats the paper's table for a terminal, as CSV and as LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING

from toolkit.evaluate.results import Column, Evaluation, Mean

if TYPE_CHECKING:
    from rich.console import RenderableType

NONE = "n/a"
INTERVALS = "means over videos; in brackets 95 % intervals by bootstrap over the videos"


def heading(column: Column) -> str:
    """The label with its unit, such as ``E_warp (1e-4)`` or ``PSNR (dB)``."""
    notes = []
    if column.unit != 1:
        power = exponent(column)
        notes.append(f"{column.unit:g}" if power is None else f"1e{power}")
    if column.suffix:
        notes.append(column.suffix)
    return f"{column.label} ({' '.join(notes)})" if notes else column.label


def exponent(column: Column) -> int | None:
    """The power of ten that the column's unit is; None if it is no power of ten."""
    power = round(math.log10(column.unit))
    return power if math.isclose(column.unit, 10.0**power) else None


def number(value: float | None, column: Column) -> str:
    """Format a value in the column's unit; infinite values are ``inf``, missing ones ``n/a``."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value / column.unit:z.{column.digits}f}"


def best(evaluation: Evaluation, column: Column) -> set[str]:
    """The methods with the best mean of a column, compared as printed; empty if all are the same."""
    printed = {
        method: float(number(row[column.name].value, column))
        for method, row in evaluation.means.items()
        if row[column.name].value is not None
    }
    if len(set(printed.values())) < 2:
        return set()
    first = (max if column.better == "higher" else min)(printed.values())
    return {method for method, value in printed.items() if value == first}


def measured(evaluation: Evaluation) -> dict[str, int]:
    """Method -> how many of its videos were measured."""
    return {method.name: sum(video.failed is None for video in method.videos) for method in evaluation.methods}


def remarks(evaluation: Evaluation) -> list[str]:
    """Remarks that qualify the means: columns without values, and means over different videos."""
    found = []
    for column in evaluation.columns:
        if all(row[column.name].value is None for row in evaluation.means.values()):
            tool = evaluation.tools.get("identity", "") if column.name.startswith("identity") else ""
            reason = tool if tool.startswith("not ") else "not measured in any video"
            found.append(f"{column.label}: {reason}")
    counts = measured(evaluation)
    if any(count < len(method.videos) for method, count in zip(evaluation.methods, counts.values())):
        found.append("some videos could not be measured, so not all methods' means are over the same videos")
    if any(fewer(evaluation, method, column) for method in counts for column in evaluation.columns):
        found.append("n= marks a mean over fewer videos than the other means of its method")
    return found


def fewer(evaluation: Evaluation, method: str, column: Column) -> int | None:
    """The number of videos behind a mean if the measure is missing in some measured videos; otherwise None."""
    mean = evaluation.means[method][column.name]
    return mean.videos if 0 < mean.videos < measured(evaluation)[method] else None


def terminal(evaluation: Evaluation) -> RenderableType:
    """Render one row per method: means over videos with 95 % intervals, the best in bold; `remarks` follow below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("method", overflow="fold")
    table.add_column("videos", justify="right")
    for column in evaluation.columns:
        table.add_column(
            Text(f"{heading(column)}\n{'high' if column.better == 'higher' else 'low'} is good"), justify="right"
        )
    winners = {column.name: best(evaluation, column) for column in evaluation.columns}
    counts = measured(evaluation)
    for method in evaluation.methods:
        cells = [Text(method.name), Text(f"{counts[method.name]} of {len(method.videos)}")]
        for column in evaluation.columns:
            mean, count = evaluation.means[method.name][column.name], fewer(evaluation, method.name, column)
            text = Text(number(mean.value, column), style="bold" if method.name in winners[column.name] else "")
            more = (f" n={count}" if count else "") + interval(mean, column).replace(" [", "\n[")
            cells.append(text.append(more, style="not bold"))
        table.add_row(*cells)
    return Group(Text(f"{evaluation.task}: {INTERVALS}"), table, *map(Text, remarks(evaluation)))


def interval(mean: Mean, column: Column) -> str:
    """Format an interval such as `` [1.20, 1.40]``; empty if there is none."""
    if mean.low is None or mean.high is None:
        return ""
    return f" [{number(mean.low, column)}, {number(mean.high, column)}]"


def csv_text(evaluation: Evaluation) -> str:
    """Format all videos and the means as CSV, in plain numbers without units; missing values are empty.

    A text that a spreadsheet would read as a formula is prefixed with an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    names = [column.name for column in evaluation.columns]
    writer.writerow(["method", "video", "frames", "frames_without_face", *names, "note"])
    for method in evaluation.methods:
        for video in method.videos:
            values = ["" if (value := video.values.get(name)) is None else repr(value) for name in names]
            note = video.failed or "; ".join(video.notes)
            frames = [video.frames, video.frames_without_face]
            writer.writerow([_plain(method.name), _plain(video.name), *frames, *values, _plain(note)])
        means = [evaluation.means[method.name][name] for name in names]
        total = [sum(video.frames for video in method.videos), sum(v.frames_without_face for v in method.videos)]
        for row, part in (("(mean)", "value"), ("(low)", "low"), ("(high)", "high")):
            found = [getattr(mean, part) for mean in means]
            cells = ["" if value is None else repr(value) for value in found]
            counts, note = (total, "; ".join(remarks(evaluation))) if part == "value" else (["", ""], "")
            writer.writerow([_plain(method.name), row, *counts, *cells, _plain(note)])
        writer.writerow([_plain(method.name), "(videos)", "", "", *[mean.videos for mean in means], ""])
    return text.getvalue()


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after a line break, LaTeX reads these two as its arguments
        "*": "{*}",
        '"': "''",
        "-": "{-}",  # keeps hyphens from joining into dashes
    }
)


def _tex(text: str) -> str:
    """Escape a text for LaTeX; white space and unprintable characters become single spaces."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.split()).translate(_LATEX)


def latex(evaluation: Evaluation) -> str:
    """Format a LaTeX table for booktabs: the best of each column is bold, intervals are small."""

    def head(column: Column) -> str:
        arrow = r"$\uparrow$" if column.better == "higher" else r"$\downarrow$"
        power = exponent(column)
        unit = "" if column.unit == 1 else f" ({column.unit:g})" if power is None else f" ($10^{{{power}}}$)"
        suffix = f" ({_tex(column.suffix)})" if column.suffix else ""
        return f"{_tex(column.label)}{unit}{suffix} {arrow}"

    def cell(method: str, column: Column) -> str:
        mean, count = evaluation.means[method][column.name], fewer(evaluation, method, column)
        text = sign(number(mean.value, column))
        if method in winners[column.name]:
            text = rf"\textbf{{\boldmath {text}}}"
        small = interval(mean, column) + (f" n={count}" if count else "")
        return rf"{text} {{\scriptsize {sign(small.strip())}}}" if small else text

    def sign(text: str) -> str:
        signs = {"-": "$-$", "inf": r"$\infty$", "-inf": r"$-\infty$"}
        return re.sub("-?inf|-", lambda found: signs[found[0]], text)

    winners = {column.name: best(evaluation, column) for column in evaluation.columns}
    counts = measured(evaluation)
    width = len(evaluation.columns) + 2
    lines = [
        rf"% Needs \usepackage{{booktabs}}. {INTERVALS[0].upper()}{INTERVALS[1:]}.",
        rf"\begin{{tabular}}{{lr{'r' * len(evaluation.columns)}}}",
        r"\toprule",
        " & ".join(["method", "videos", *map(head, evaluation.columns)]) + r" \\",
        r"\midrule",
    ]
    for method in evaluation.methods:
        cells = [_tex(method.name), f"{counts[method.name]} of {len(method.videos)}"]
        lines.append(" & ".join([*cells, *(cell(method.name, column) for column in evaluation.columns)]) + r" \\")
    lines.append(r"\bottomrule")
    lines += [rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {_tex(remark)}}} \\" for remark in remarks(evaluation)]
    return "\n".join([*lines, r"\end{tabular}", ""])
