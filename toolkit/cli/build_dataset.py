"""``toolkit build-dataset``: makes a dataset of pairs from real videos."""

from __future__ import annotations

import argparse

from toolkit.cli.console import err, out
from toolkit.cli.options import add_arguments, from_arguments
from toolkit.cli.progress import ConsoleObserver
from toolkit.errors import ContractError
from toolkit.faces.config import FaceConfig
from toolkit.registry import load_task_class
from toolkit.synthesis.config import BuildConfig, InpaintConfig
from toolkit.synthesis.report import BuildObserver, BuildReport, dropped_by_reason


def configure(parser: argparse.ArgumentParser, argv: list[str]) -> None:
    """Flags of the build, and of the task that `argv` names."""
    ahead = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    ahead.add_argument("--task", nargs="?")
    name = ahead.parse_known_args(argv)[0].task
    add_arguments(parser, BuildConfig, exclude=("options", "inpainting", "faces"))
    add_arguments(parser, FaceConfig, title="finding faces")
    add_arguments(parser, InpaintConfig, title="inpainting, for tasks that mask and inpaint")
    if name is None:
        parser.epilog = "With --task NAME the help also lists the options of that task."
        return
    options = load_task_class(name).Options
    own = BuildConfig.model_fields.keys() | FaceConfig.model_fields.keys() | InpaintConfig.model_fields.keys()
    taken = sorted(options.model_fields.keys() & own)
    if taken:
        raise ContractError(
            f"the task {name!r} has options that build-dataset has itself: {', '.join(taken)}; rename them"
        )
    add_arguments(parser, options, title=f"options of the task {name}")


def run(args: argparse.Namespace) -> int:
    """Build, and return 1 if a source failed."""
    from toolkit.synthesis.build import build_dataset

    if "task" in args:
        names = load_task_class(args.task).Options.model_fields
        args.options = {name: value for name, value in vars(args).items() if name in names}
    args.faces = from_arguments(FaceConfig, args)
    args.inpainting = from_arguments(InpaintConfig, args)
    config = from_arguments(BuildConfig, args)
    with BuildConsole() as observer:
        report = build_dataset(config, observer)
    summarise(report)
    return 1 if report.failed and not config.allow_failures else 0


def summarise(report: BuildReport) -> None:
    """Say what came out and where it is."""
    manifest = report.manifest
    used = sum(source.status == "ok" for source in manifest.sources)
    out.print(f"{manifest.pairs} pairs in {manifest.clips} clips from {used} of {len(manifest.sources)} videos")
    for reason, number in dropped_by_reason(manifest.shards).most_common():
        out.print(f"  left out: {reason} ({number})", soft_wrap=True)
    for label, sources in (("skipped", report.skipped), ("failed", report.failed)):
        if sources:
            out.print(f"  {label}: {len(sources)} videos, see manifest.json")
    for warning in report.warnings:
        err.print(f"warning: {warning}", soft_wrap=True)
    out.print(f"dataset: {report.output}", soft_wrap=True)
    out.print(f"preview: {report.preview}", soft_wrap=True)


class BuildConsole(ConsoleObserver, BuildObserver):
    """Shows frames, pace and clips, and prints the videos that are left out above the bar."""

    def skipped(self, name: str, reason: str) -> None:
        self.say(f"skipped: {name}: {reason}")
