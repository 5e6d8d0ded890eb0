"""Step 1 of the method: real videos in, a dataset of pairs out."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from importlib.metadata import entry_points
from pathlib import Path
from platform import python_version_tuple
from typing import Any

from toolkit.dataset.card import render_card
from toolkit.dataset.layout import CARD, MANIFEST, PREVIEW, SCHEMA_VERSION, Manifest, dump_json
from toolkit.dataset.png import encode_png
from toolkit.dataset.preview import render_preview
from toolkit.errors import ContractError, InputError, MissingExtra, UsageError
from toolkit.executor import Executor, ProcessExecutor
from toolkit.interruption import termination_interrupts
from toolkit.registry import GROUP, load_task
from toolkit.synthesis.config import BuildConfig, cores
from toolkit.synthesis.output import OutputFolder
from toolkit.synthesis.plan import Plan, content_digest, make_plan
from toolkit.synthesis.report import BuildObserver, BuildReport, source_record
from toolkit.synthesis.shards import OutputError, SetupError, ShardJob, build_shard
from toolkit.task import AttributeTask
from toolkit.versions import installed

_LIBRARIES = (
    *("vlasik-toolkit", "albumentations", "av", "diffusers", "embreex", "isal", "mediapipe", "numpy"),
    *("opencv-contrib-python", "pillow", "pyfacer", "scipy", "torch", "transformers", "trimesh"),
)


def build_dataset(
    config: BuildConfig, observer: BuildObserver | None = None, executor: Executor | None = None
) -> BuildReport:
    """Build a dataset, or finish one that was interrupted (V-LASIK, section 4.1).

    The same task, options, seed and videos give the same files, whatever the number of workers and however often
    the build was interrupted. A source that fails does not stop the others; see `BuildReport.failed`. Ctrl-C and
    SIGTERM stop the workers and raise KeyboardInterrupt. Processes are spawned: a script that calls this keeps its
    own top level under ``if __name__ == "__main__"``.

    Args:
        config: what to build.
        observer: is told how it goes.
        executor: where shards are built; processes of this machine if None.

    Raises:
        UsageError: an unknown task or option, or an output folder that belongs to something else.
        InputError: a path is absent or holds no video, or no pair came out of any source.
        MissingExtra: the task or the analyser needs something that is not installed.
        OutputError: the dataset cannot be written.
    """
    observer = observer or BuildObserver()
    task = load_task(config.task, config.options)
    inpaints = task.uses_inpainter()
    config = config.resolved(inpaints)
    # A model that inpaints uses all cores by itself, or as many as OMP_NUM_THREADS says.
    alone = None if config.workers == 1 else max(1, cores() // config.workers)
    executor = executor or ProcessExecutor(config.workers, threads=alone if inpaints else 1)
    plan = make_plan(config)
    folder = OutputFolder(config.output, _document(config, task, plan))
    with termination_interrupts(), folder:
        try:
            failures = _build_shards(config, plan, folder, observer, executor)
        except SetupError:
            if not folder.records:
                folder.discard()  # a corrected command may use it
            raise
        sources = [source_record(source, plan, folder.records, failures) for source in plan.sources]
        for source in sources:
            if source.status != "ok":
                observer.source_left_out(source)
        shards = [folder.records[segment.name] for segment in plan.segments if segment.name in folder.records]
        manifest = Manifest(
            format=config.format,
            task=task.name,
            resolution=config.resolution,
            clips=sum(shard.clips for shard in shards),
            pairs=sum(shard.pairs for shard in shards),
            sources=sorted([*sources, *plan.unusable], key=lambda source: (source.name, source.sha256 or "")),
            shards=shards,
        )
        if not manifest.pairs:
            folder.discard()
            reasons = "; ".join(f"{source.name}: {source.reason}" for source in manifest.sources[:5])
            more = len(manifest.sources) - 5
            raise InputError(
                f"no pair could be made from {len(manifest.sources)} videos ({reasons}"
                f"{f'; and {more} more' if more > 0 else ''}); give videos with visible faces"
            )
        _same_columns(manifest)
        _finish(folder, manifest, task)
    return BuildReport(config.output, manifest, _warnings(config, manifest))


def _build_shards(
    config: BuildConfig, plan: Plan, folder: OutputFolder, observer: BuildObserver, executor: Executor
) -> dict[str, list[str]]:
    """Build what is not there yet; reasons of failure by the sources' digests."""
    done = [folder.records[segment.name] for segment in plan.segments if segment.name in folder.records]
    missing = [segment for segment in plan.segments if segment.name not in folder.records]
    observer.started(sum(segment.frames for segment in plan.segments), done)
    for source in plan.unusable:
        observer.source_left_out(source)
    failures: dict[str, list[str]] = defaultdict(list)
    # The longest first, so that no worker is left with one at the end.
    jobs = [ShardJob(config, segment) for segment in sorted(missing, key=lambda segment: -segment.frames)]
    with contextlib.closing(executor.run(build_shard, jobs)) as outcomes:
        for outcome in outcomes:
            segment = outcome.item.segment
            if outcome.error is None:
                folder.record(outcome.value)
                observer.shard_done(outcome.value)
            elif isinstance(outcome.error, OutputError | SetupError | MissingExtra | UsageError):
                raise outcome.error  # the next source would end in the same way
            else:
                reason = str(outcome.error).replace(str(segment.source.path), segment.source.name)
                failures[segment.source.digest].append(reason)
                if outcome.details:
                    observer.bug(segment.source.name, outcome.details)
    return failures


def _document(config: BuildConfig, task: AttributeTask, plan: Plan) -> dict[str, Any]:
    """The content of `config.json`."""
    content = config.content() | {"options": task.options.model_dump(mode="json")}
    for settings, model in ((content, config), (content["options"], task.options)):
        files = {name: value for name, value in model if isinstance(value, Path) and name in settings}
        settings |= {name: content_digest(path) for name, path in files.items()}
    versions = {"schema": str(SCHEMA_VERSION), "python": ".".join(python_version_tuple()[:2])}
    versions |= installed(_LIBRARIES)
    for point in entry_points(group=GROUP, name=task.name):
        if point.dist is not None:
            versions[point.dist.name] = point.dist.version
    inputs = [{"name": name, "sha256": digest} for name, digest in plan.inputs]
    document = {"config": content, "versions": versions, "inputs": inputs}
    if task.uses_inpainter():
        from toolkit.backbones import describe, identity

        document["backbone"] = identity(describe(config.inpainting.backbone))
        del content["inpainting"]["backbone"]  # what it is counts, not where it lies
    else:
        del content["inpainting"]
    return document


def _same_columns(manifest: Manifest) -> None:
    """
    Raises:
        ContractError: the task described its pairs differently in different shards; readers need one table.
    """
    kinds = {tuple(shard.columns.items()): shard.name for shard in manifest.shards if shard.pairs}
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise ContractError(
            f"the task {manifest.task!r} must give every pair the same info, "
            f"found {dict(first)} in {one} and {dict(second)} in {other}"
        )


def _finish(folder: OutputFolder, manifest: Manifest, task: AttributeTask) -> None:
    text = dump_json(manifest.model_dump(mode="json")).encode()
    have = folder.root / MANIFEST
    files = {MANIFEST: text}
    if not (have.is_file() and have.read_bytes() == text and (folder.root / PREVIEW).is_file()):
        preview = encode_png(render_preview(folder.root, manifest))
        files = {CARD: render_card(manifest, task.description, task.prompt).encode(), PREVIEW: preview, **files}
    folder.finish(files)


def _warnings(config: BuildConfig, manifest: Manifest) -> list[str]:
    if config.validation_fraction and not any(s.split == "validation" and s.pairs for s in manifest.shards):
        return ["no source with pairs is held out for validation; give more videos, of different people"]
    return []
