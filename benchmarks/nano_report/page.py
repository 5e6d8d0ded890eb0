"""Writes the page from a template and the results."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.edit_speed import BASELINE
from benchmarks.nano_report import aims, data, measures
from toolkit.files import write_text

TEMPLATE = Path(__file__).with_name("template.md")

NONE = "n/a"


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace each ``{{name}}`` of a template.

    Raises:
        KeyError: the template names a value that is not there, or leaves one out.
    """
    named = set(re.findall(r"{{(\w+)}}", template))
    if named != set(values):
        raise KeyError(f"template and values differ in {', '.join(sorted(named ^ set(values)))}")
    return re.sub(r"{{(\w+)}}", lambda found: values[found[1]], template)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(value: float | None, style: str = "{:.2f}") -> str:
    """A formatted value; ``n/a`` if there is none."""
    return NONE if value is None else aims.spaced(style.format(value))


def with_interval(mean: float, low: float | None, high: float | None) -> str:
    """A mean, with its interval if there is one."""
    return f"{mean:.1f}" + ("" if low is None or high is None else f" [{low:.1f}, {high:.1f}]")


def measures_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A column for each method and a row for each measure of an evaluation."""
    first = next(iter(results.values()))
    rows = [
        [heading, *(found["cells"][method].get(name, NONE) for method, found in results.items())]
        for name, heading in first["columns"].items()
    ]
    return table(["", *results], rows)


def spread_rows(spreads: Mapping[str, Mapping[str, Any]]) -> str:
    """Mean with its interval, and the worst video, of each method."""
    rows = [
        [name, with_interval(one["mean"], one["low"], one["high"]), f"{one['worst']:.1f}"]
        for name, one in spreads.items()
    ]
    return table(["", "PSNR inside (dB), mean", "worst video"], rows)


def groups_table(before: Mapping[str, Any], now: Mapping[str, Any], names: Sequence[str]) -> str:
    """Means of groups by task; ``before`` and ``now``: task -> grouping -> results of `measures.group_means`."""
    rows = []
    for grouping in next(iter(now.values())):
        there = {group for task in now.values() for group in task[grouping]["groups"]}
        for group in (group for group in (*measures.AGES, *measures.TONES) if group in there):
            cells = [grouping, group]
            for task in now:
                one, other = (part[task][grouping]["groups"].get(group) for part in (before, now))
                cells += [str(other[3]) if other else "0"]
                cells += [with_interval(*it[:3]) if it else NONE for it in (one, other)]
            rows.append(cells)
    head = ["", "group"]
    for task in now:
        head += [f"{task}: videos", *(f"{name} (dB)" for name in names)]
    return table(head, rows)


def aims_table(before: aims.Results, now: aims.Results, names: Sequence[str]) -> str:
    """The table of aims."""
    return table(["", *names, "asked", "hoped for", "reached"], aims.rows(before, now))


def write(run: Any, results: Mapping[str, Any], found: Mapping[str, Any], target: Path, pictures: Path) -> None:
    """Write the page.

    Args:
        run: a `report.Run`.
        results: by part; see `report.write`.
        found: `figures.figures` of each variant.
        target: the page.
        pictures: folder of the pictures.

    Raises:
        SystemExit: a part was left out.
    """
    if missing := {"made", "real", "bare", "cost"} - set(results):
        raise SystemExit(f"the page needs all parts; {', '.join(sorted(missing))} is missing from --part")
    names = [run.variants[0].name, run.variants[-1].name]
    made, worn, cost = results["made"], results["real"], results["cost"]
    london, synthetic = made["london"], made["synthetic"]
    before, now = (found[name] for name in names)
    counts = {task: len(synthetic[task]["people"]) for task in synthetic}
    groups = [{task: synthetic[task]["groups"][name] for task in synthetic} for name in names]
    values = {
        "before": names[0],
        "now": names[1],
        "revision": revision_of(run.variants[0]),
        "aims": aims_table(before, now, names),
        "london_videos": chosen(len(london["glasses"]["outcomes"][names[0]]), len(london["glasses"]["people"])),
        "identity": "A MobileFaceNet measures ID." if run.material.arcface else "ID was not measured.",
        "portraits": str(
            len({data.portrait_of(video) for one in synthetic.values() for video in one["people"].values()})
        ),
        "synthetic_videos": " and ".join(f"{count} with {task}" for task, count in counts.items()),
        "groups": groups_table(*groups, names),
        "seconds": f"{run.seconds:g}",
        "real": real_table(worn, names),
        "bare": bare_table(results["bare"], names),
        "cpu_frames": str(cost["cpu"]["glasses"]["frames"]),
        "baseline": BASELINE,
        "cost": cost_table(cost, names),
    }
    for task in data.TASKS:
        values[f"london_{task}"] = measures_table(london[task]["lossless"])
        values[f"synthetic_{task}"] = spread_rows(
            {
                method: measures.spread(measures.inside(result, method))
                for method, result in synthetic[task]["lossless"].items()
            }
        )
        values[f"picture_{task}"] = os.path.relpath(pictures / f"nano-{task}.jpg", target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, wrapped(fill(TEMPLATE.read_text(encoding="utf-8"), values)))


def revision_of(variant: Any) -> str:
    """The commit that a variant names; ``unknown`` for a folder."""
    base = variant.revision or ""
    return base if re.fullmatch("[0-9a-f]{7,40}", base) else "unknown"


def chosen(count: int, total: int) -> str:
    """How many videos were used, and of how many they were chosen."""
    return str(total) if count == total else f"{count} (evenly chosen from {total})"


def wrapped(page: str, width: int = 128) -> str:
    """Break the lines of paragraphs and list items anew; tables, titles, code and pictures stay as they are."""
    blocks = []
    for block in page.split("\n\n"):
        if block.lstrip().startswith(("|", "#", "`" * 3, "![", "- ")):
            blocks.append(block)
        else:
            blocks.append(textwrap.fill(" ".join(block.split()), width, break_long_words=False, break_on_hyphens=False))
    return "\n\n".join(blocks).rstrip() + "\n"


def pair(values: Sequence[float | None], style: str) -> str:
    """Values before and now."""
    return " / ".join(text(value, style) for value in values)


def real_table(worn: Mapping[str, Any], names: Sequence[str]) -> str:
    """A row for each real clip with glasses; clips have numbers, because their names are about places of origin."""
    rows = []
    for number, video in enumerate(worn["videos"], 1):
        detail = [worn["detail"][video].get(name, {}) for name in names]
        rows.append(
            [
                f"{number}" + ("" if video in worn["large"] else " (small)"),
                pair([worn["remaining"][name].get(video) for name in names], "{:.1%}"),
                pair([one.get("kept") for one in detail], "{:.2f}"),
                pair([one.get("clear") for one in detail], "{:.2f}"),
                pair([one.get("traces") for one in detail], "{:.2f}"),
                pair([worn["steadiness"][name].get(video) for name in names], "{:.2f}"),
            ]
        )
    return table(
        ["clip", "glasses remaining", "detail", "away from rims", "traces", "E_warp divided by the original's"], rows
    )


def bare_table(part: Mapping[str, Any], names: Sequence[str]) -> str:
    """Unchanged frames of bare people by task and kind."""
    rows = []
    for task, variants in part.items():
        for kind in variants[names[0]]:
            counted = [variants[name][kind] for name in names]
            frames = counted[0]["frames"]
            rows.append(
                [
                    task,
                    kind,
                    str(frames),
                    pair([one["unchanged"] / frames for one in counted], "{:.2%}"),
                    pair([one["equal"] / frames for one in counted], "{:.2%}"),
                    pair([len(one["changed"]) for one in counted], "{:.0f}"),
                ]
            )
    return table(["task", "", "frames", "unchanged", "the same to the bit", "videos that change"], rows)


def cost_table(part: Mapping[str, Any], names: Sequence[str]) -> str:
    """Arithmetic, weights and CPU time before and now."""
    rows = [["all weights (MB)", *(text(part["weights"][name] / 1e6, "{:.1f}") for name in names)]]
    for task, counted in part["arithmetic"].items():
        networks = dict.fromkeys(network for name in names for network in counted[name])
        for network in sorted(networks, key=lambda network: network == "total"):
            cells = [text(counted[name].get(network), "{:.2f}") for name in names]
            if any(counted[name].get(network) for name in names):
                rows.append([f"{task}: GFLOP for a frame, {network}", *cells])
    for task, spent in part["cpu"].items():
        cells = [text(spent["ratios"].get(name), "{:.1f}") for name in names]
        rows.append([f"{task}: CPU time of {BASELINE} / of this", *cells])
    return table(["", *names], rows)
