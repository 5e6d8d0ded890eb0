"""``toolkit edit``: a video, or a folder of them, and removers in; the same without the attributes out."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from toolkit.cli import NOTHING_EDITED
from toolkit.cli.console import out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.edit.config import EditConfig
from toolkit.edit.report import EditObserver, EditReport
from toolkit.imports import uncollected

PREVIEW_SECONDS = 3.0

COMMON = {"task", "remover", "preset", "device", "seed", "analyser", "hidden_eyes"}
COMMON |= {"crf", "lossless", "compare", "provenance", "workers"}
"""Settings that ``--help`` shows."""

UNCHANGED = {
    "no face": "without a face",
    "kept": "with a face that was kept as it is",
    "no attribute": "without the attribute",
    "turned away": "with a face turned too far away",
}
"""Reasons why frames were not edited, by status."""

MISSING = {
    "no face": "there is no face",
    "kept": "the face was kept as it is",
    "no attribute": "there is none of the removers' attributes",
    "turned away": "there is no face turned to the camera",
}
"""Reasons why a video was not edited, by outcome."""


def configure(parser: Parser, argv: list[str]) -> None:
    """Two paths, and the settings."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="Video to edit, or a folder of videos.")
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUTPUT",
        help="Edited video (.mp4, .mov or .mkv), or the folder for edited videos.",
    )
    parser.add_argument(
        "--preview",
        nargs="?",
        type=float,
        const=PREVIEW_SECONDS,
        dest="writing.preview",
        default=argparse.SUPPRESS,
        metavar="SECONDS",
        help=f"Edit only the first seconds, {PREVIEW_SECONDS:g} by default, into out.preview.mp4.",
    )
    add_settings(parser, EditConfig, argv, common=COMMON, exclude=["writing.preview"])
    parser.epilog = (
        "Exit codes: 0 edited; 1 failed; 2 wrong request; 3 no face or no attribute was found, so the video was "
        "copied. Edit only videos that you own or have a licence for, and only if the people in them agreed."
    )


def run(args: argparse.Namespace) -> int:
    """Edit a video or a folder, and print where the result is."""
    config = read_settings(EditConfig, args)
    with EditConsole() as observer:
        if args.input.is_dir():
            with uncollected():
                from toolkit.edit.folder import edit_videos

            report = edit_videos(args.input, args.output, config, observer)
            reports, failed = report.done, len(report.failed)
            edited = sum(one.outcome == "edited" for one in reports)
            out.print(f"{edited} videos edited, {len(reports) - edited} copied, {failed} failed")
        else:
            with uncollected():
                from toolkit.edit.video import edit_video

            reports, failed = [edit_video(args.input, args.output, config, observer)], 0
    if failed:
        return 1
    return 0 if any(report.outcome == "edited" for report in reports) else NOTHING_EDITED


def summarise(report: EditReport, target: Path) -> None:
    """Print what was done to a video and where it is."""
    if report.outcome != "edited":
        out.print(f"nothing was edited: {MISSING[report.outcome]} in {report.source}", soft_wrap=True)
    else:
        counts = report.counts
        unchanged = [f"{counts[status]} {reason}" for status, reason in UNCHANGED.items() if counts.get(status)]
        rest = f" ({' and '.join(unchanged)} left unchanged)" if unchanged else ""
        out.print(f"edited {counts['edited']} of {len(report.frames)} frames{rest}", soft_wrap=True)
    if small := report.counts.get("small faces"):
        out.print(f"  {small} times a face was smaller than --min-face and was not edited", soft_wrap=True)
    for kind, number in Counter(warning.kind for warning in report.warnings).items():
        stretches = "1 stretch" if number == 1 else f"{number} stretches"
        out.print(f"  {kind}: {stretches}, listed in the report", soft_wrap=True)
    if report.fps is not None and report.stages:
        shares = ", ".join(f"{name} {stage.share:.0%}" for name, stage in report.stages.items() if stage.share >= 0.005)
        out.print(f"{report.fps:.2g} frames a second: {shares}", soft_wrap=True)
    if report.comparison:
        out.print(f"comparison: {target.with_name(report.comparison)}", soft_wrap=True)
    out.print(f"report: {target}.json", soft_wrap=True)
    out.print(f"video: {target}", soft_wrap=True)


class EditConsole(ConsoleObserver, EditObserver):
    """The shared progress bar, and a summary of each video."""

    def finished(self, report: EditReport, target: Path) -> None:
        summarise(report, target)
