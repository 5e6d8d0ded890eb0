"""Chooses what the sheets of the report show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.nano_report import measures, sheets

if TYPE_CHECKING:
    from benchmarks.nano_report.report import Run

FRAMES = 3
"""Frames of each real clip on its sheet."""


def draw(run: Run, results: dict[str, Any], pictures: Path) -> None:
    """Draw the worst, the median and the best video of each set, and the eyes of real people.

    Sheets are written to the folder ``sheets`` of the work folder. Those of synthetic people, which may be published,
    are written to `pictures` too.
    """
    folder, now = run.work / "sheets", run.variants[-1].name
    for name, tasks in results.get("made", {}).items():
        for task in tasks:
            where = run.where(name, task)
            videos, edits = run.work / "sets" / where, run.edits(where)
            values = measures.inside(tasks[task]["lossless"][now], now)
            rows = []
            for kind, video in telling(values).items():
                versions = {"with": videos / "with" / video}
                versions |= {variant: path / video for variant, path in edits.items()}
                rows.append((f"{kind} {values[video]:.1f} dB", versions | {"target": videos / "without" / video}))
            sheets.faces_sheet(rows, folder / f"{name}-{task}.png")
            if name == "synthetic":
                sheets.faces_sheet(rows, pictures / f"nano-{task}.jpg")
    if "real" in results:
        originals = run.work / "sets" / f"real-{run.seconds:g}"
        for video in results["real"]["videos"]:
            versions = {"original": originals / video}
            versions |= {variant: path / video for variant, path in run.edits("real/glasses").items()}
            sheets.eyes_sheet(originals / video, versions, folder / f"real-{Path(video).stem}.png", FRAMES)


def telling(values: dict[str, float]) -> dict[str, str]:
    """The worst, the median and the best of videos; fewer if there are fewer."""
    order = measures.ranked(values)
    found: dict[str, str] = {}
    for kind, video in (("worst", order[0]), ("median", order[len(order) // 2]), ("best", order[-1])):
        if video not in found.values():
            found[kind] = video
    return found
