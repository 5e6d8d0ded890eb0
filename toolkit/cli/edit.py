"""``toolkit edit``: a video, or a folder of them, and removers in; the same without the attributes out."""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from pathlib import Path

from toolkit.cli import NOTHING_EDITED
from toolkit.cli.console import err, out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.edit.config import EditConfig
from toolkit.edit.report import EditObserver, EditReport

PREVIEW_SECONDS = 3.0

COMMON = {"task", "remover", "backbone", "device", "seed", "max_faces", "analyser"}
COMMON |= {"crf", "lossless", "compare", "provenance"}
"""Settings that ``--help`` shows."""

UNTOUCHED = {
    "no face": "without a face",
    "no attribute": "without the attribute",
    "turned away": "with a face turned too far away",
}
"""Statuses of frames that were passed through, in words."""

_LINE_SECONDS = 30
"""Between two lines of progress where there is no terminal."""


def configure(parser: Parser, argv: list[str]) -> None:
    """Two paths, and the settings."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="Video to edit, or a folder of videos.")
    parser.add_argument(
        "output", type=Path, metavar="OUTPUT", help="Edited video (.mp4, .mov, .mkv), or the folder for them."
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        type=float,
        const=PREVIEW_SECONDS,
        dest="writing.preview",
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help=f"Edit only the first seconds, {PREVIEW_SECONDS:g} by default, and write OUTPUT.preview.",
    )
    add_settings(parser, EditConfig, argv, common=COMMON, exclude=["writing.preview"])
    parser.epilog = (
        "Exit codes: 0 edited; 1 failed; 2 wrong request; 3 no face or no attribute was found, and the video was "
        "copied. Edit only videos that you own or have a licence for, of people who consented."
    )


def run(args: argparse.Namespace) -> int:
    """Edit, and say where the result is."""
    config = read_settings(EditConfig, args)
    with ConsoleObserver() as observer:
        if args.input.is_dir():
            from toolkit.edit.batch import edit_videos

            report = edit_videos(args.input, args.output, config, observer)
            reports, failed = report.done, len(report.failed)
            edited = sum(one.outcome == "edited" for one in reports)
            out.print(f"{edited} videos edited, {len(reports) - edited} copied, {failed} failed")
        else:
            from toolkit.edit.engine import edit_video

            reports, failed = [edit_video(args.input, args.output, config, observer)], 0
    if failed:
        return 1
    return 0 if any(report.outcome == "edited" for report in reports) else NOTHING_EDITED


def summarise(report: EditReport, target: Path) -> None:
    """Say what was done to a video and where it is."""
    if report.outcome != "edited":
        words = {"no face": "no face", "turned away": "no face turned to the camera"}
        seen = words.get(report.outcome, "none of the removers' attributes")
        out.print(f"nothing was edited: there is {seen} in {report.source}", soft_wrap=True)
    else:
        counts = report.counts
        untouched = [f"{counts[status]} {words}" for status, words in UNTOUCHED.items() if counts.get(status)]
        passed = f" ({' and '.join(untouched)} passed through)" if untouched else ""
        out.print(f"edited {counts['edited']} of {len(report.frames)} frames{passed}", soft_wrap=True)
    if report.counts.get("small faces"):
        out.print(
            f"  faces smaller than --min-face were left alone {report.counts['small faces']} times", soft_wrap=True
        )
    for kind, number in Counter(warned.kind for warned in report.warnings).items():
        out.print(f"  {kind}: {number} stretches, see the report", soft_wrap=True)
    if report.comparison:
        out.print(f"comparison: {target.with_name(report.comparison)}", soft_wrap=True)
    out.print(f"report: {target}.json", soft_wrap=True)
    out.print(f"video: {target}", soft_wrap=True)


class ConsoleObserver(EditObserver):
    """A progress bar on a terminal, a line now and then elsewhere: what is done, how fast, and the time left."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._bar = self._progress.add_task("loading", total=None, unit="")
        self._phase, self._total, self._unit, self._first = "", 0, "", 0
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> ConsoleObserver:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def video(self, source: Path, target: Path, number: int, count: int) -> None:
        err.print(f"{number} of {count}: {source}", soft_wrap=True)

    def phase(self, name: str, total: int, unit: str) -> None:
        self._phase, self._total, self._unit, self._first = name, total, unit, -1
        self._begun = time.monotonic()
        self._progress.reset(self._bar, total=total, description=name, unit=unit)

    def advance(self, done: int) -> None:
        if self._first < 0:
            self._first, self._begun = done, time.monotonic()  # the first one includes what is loaded, or resumed
        self._progress.update(self._bar, completed=done)
        if err.is_terminal or time.monotonic() - self._said < _LINE_SECONDS:
            return
        self._said = time.monotonic()
        speed = (done - self._first) / max(self._said - self._begun, 1e-9)
        left = f", {math.ceil((self._total - done) / speed / 60)} min left" if speed > 0 else ""
        err.print(f"{self._phase}: {done} of {self._total} {self._unit}{left}", soft_wrap=True)

    def warning(self, sentence: str) -> None:
        err.print(f"warning: {sentence}", soft_wrap=True)

    def finished(self, report: EditReport, target: Path) -> None:
        summarise(report, target)

    def failed(self, source: Path, error: Exception) -> None:
        err.print(f"error: {source}: {' '.join(str(error).split())}", soft_wrap=True)
