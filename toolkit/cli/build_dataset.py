"""``toolkit build-dataset``: real videos in, a dataset of pairs out."""

from __future__ import annotations

import argparse
from collections import Counter

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from toolkit.cli.console import err, out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.dataset.layout import ShardRecord, SourceRecord
from toolkit.errors import ContractError
from toolkit.registry import load_task_class
from toolkit.synthesis.config import BuildConfig, InpaintConfig
from toolkit.synthesis.report import BuildObserver, BuildReport


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Flags of the build, and of the task that `argv` names."""
    ahead = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    ahead.add_argument("--task", nargs="?")
    name = ahead.parse_known_args(argv)[0].task
    add_arguments(parser, BuildConfig, exclude=("options", "inpainting"))
    add_arguments(parser, InpaintConfig, title="inpainting, for tasks that mask and inpaint")
    if name is None:
        parser.epilog = "With --task NAME the help also lists the options of that task."
        return
    options = load_task_class(name).Options
    taken = sorted(options.model_fields.keys() & (BuildConfig.model_fields.keys() | InpaintConfig.model_fields.keys()))
    if taken:
        raise ContractError(
            f"the task {name!r} has options that build-dataset has itself: {', '.join(taken)}; rename them"
        )
    add_arguments(parser, options, title=f"options of the task {name}")


def run(args: argparse.Namespace) -> int:
    """Build, and return 1 if a source failed."""
    from toolkit.synthesis.engine import build_dataset

    if "task" in args:
        names = load_task_class(args.task).Options.model_fields
        args.options = {name: value for name, value in vars(args).items() if name in names}
    args.inpainting = from_arguments(InpaintConfig, args)
    config = from_arguments(BuildConfig, args)
    with ConsoleObserver() as observer:
        report = build_dataset(config, observer)
    summarise(report)
    return 1 if report.failed and not config.allow_failures else 0


def summarise(report: BuildReport) -> None:
    """Say what came out and where it is."""
    manifest = report.manifest
    used = sum(source.status == "ok" for source in manifest.sources)
    out.print(f"{manifest.pairs} pairs in {manifest.clips} clips from {used} of {len(manifest.sources)} videos")
    dropped = sum((Counter(shard.dropped) for shard in manifest.shards), Counter())
    for reason, number in dropped.most_common():
        out.print(f"  left out: {reason} ({number})", soft_wrap=True)
    for label, sources in (("skipped", report.skipped), ("failed", report.failed)):
        if sources:
            out.print(f"  {label}: {len(sources)} videos, see manifest.json")
    for warning in report.warnings:
        err.print(f"warning: {warning}", soft_wrap=True)
    out.print(f"dataset: {report.output}", soft_wrap=True)
    out.print(f"preview: {report.preview}", soft_wrap=True)


class ConsoleObserver(BuildObserver):
    """A progress bar on a terminal: frames, frames per second, clips, time left; what is left out scrolls above it."""

    def __init__(self):
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("frames"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[clips]} clips"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        self._bar = self._progress.add_task("looking at the videos", total=None, speed="", clips=0)
        self._clips = self._frames = 0
        self._seen: set[tuple[str, str | None]] = set()

    def __enter__(self) -> ConsoleObserver:
        if err.is_terminal:  # elsewhere it would leave nothing but an empty line
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._progress.stop()

    def started(self, total_frames: int, finished: list[ShardRecord]) -> None:
        self._clips = sum(shard.clips for shard in finished)
        frames = sum(shard.frames for shard in finished)
        if finished:
            err.print(f"continuing: {len(finished)} shards with {self._clips} clips are finished")
        self._progress.reset(self._bar, total=total_frames, completed=frames, description="building")
        self._progress.update(self._bar, clips=self._clips)

    def shard_done(self, shard: ShardRecord) -> None:
        self._clips += shard.clips
        self._frames += shard.frames
        elapsed = self._progress.tasks[0].elapsed
        speed = f"{self._frames / elapsed:.0f} frames/s" if elapsed else ""
        self._progress.update(self._bar, advance=shard.frames, clips=self._clips, speed=speed)

    def source_left_out(self, source: SourceRecord) -> None:
        err.print(f"{source.status} {source.name}: {source.reason}", soft_wrap=True)

    def bug(self, source: str, details: str) -> None:
        err.print(f"unexpected error with {source}:\n{details}", soft_wrap=True)
