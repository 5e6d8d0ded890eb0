"""``toolkit build-dataset``: makes a dataset of pairs from real videos."""

from __future__ import annotations

import argparse

from toolkit.cli.console import err, out
from toolkit.cli.options import Parser, add_settings, read_settings
from toolkit.cli.progress import ConsoleObserver
from toolkit.synthesis.config import BuildConfig
from toolkit.synthesis.report import BuildObserver, BuildReport, dropped_by_reason
from toolkit.words import counted

COMMON = {"task", "videos", "output", "resolution", "clip_length", "max_clips", "validation_fraction", "format"}
COMMON |= {"preset", "analyser", "max_faces", "backbone", "device", "workers", "seed"}
"""Settings that ``--help`` shows."""


def configure(parser: Parser, argv: list[str]) -> None:
    """The settings."""
    add_settings(parser, BuildConfig, argv, common=COMMON)
    if not parser.sections:
        parser.epilog = "`toolkit build-dataset --task NAME --help` also lists the options of that task."


def run(args: argparse.Namespace) -> int:
    """Build; return 1 if a video failed."""
    from toolkit.synthesis.build import build_dataset

    config = read_settings(BuildConfig, args)
    with BuildConsole() as observer:
        report = build_dataset(config, observer)
    summarise(report)
    return 1 if report.failed and not config.allow_failures else 0


def summarise(report: BuildReport) -> None:
    """Print the outcome and where it is."""
    manifest = report.manifest
    used = sum(source.status == "ok" for source in manifest.sources)
    pairs, clips = counted(manifest.pairs, "pairs"), counted(manifest.clips, "clips")
    out.print(f"{pairs} in {clips} from {used} of {counted(len(manifest.sources), 'videos')}")
    for reason, number in dropped_by_reason(manifest.shards).most_common():
        out.print(f"  left out: {reason} ({number})", soft_wrap=True)
    for label, sources in (("skipped", report.skipped), ("failed", report.failed)):
        if sources:
            out.print(f"  {label}: {counted(len(sources), 'videos')}; manifest.json gives the reasons")
    for warning in report.warnings:
        err.print(f"warning: {warning}", soft_wrap=True)
    out.print(f"dataset: {report.output}", soft_wrap=True)
    out.print(f"preview: {report.preview}", soft_wrap=True)


class BuildConsole(ConsoleObserver, BuildObserver):
    """Shows frames, pace and clips, and prints the videos that are left out above the bar."""

    def skipped(self, name: str, reason: str) -> None:
        self.say(f"skipped: {name}: {reason}")
