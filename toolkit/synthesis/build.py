"""Builds a dataset of pairs from real videos: the data generation of V-LASIK, section C.1."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path
from platform import python_version_tuple
from typing import Any

from toolkit.dataset.card import render_card
from toolkit.dataset.layout import CARD, MANIFEST, PREVIEW, SCHEMA_VERSION, Manifest, SourceRecord, manifest_bytes
from toolkit.dataset.png import encode_png
from toolkit.dataset.preview import render_preview
from toolkit.errors import ContractError, InputError, MissingExtra, UsageError
from toolkit.executor import Executor, ProcessExecutor, available_cores
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.registry import entry, load_task
from toolkit.synthesis.config import BuildConfig, ResolvedBuild
from toolkit.synthesis.output import OutputFolder
from toolkit.synthesis.plan import Plan, content_digest, make_plan
from toolkit.synthesis.report import BuildObserver, BuildReport, source_record
from toolkit.synthesis.shards import OutputError, SetupError, ShardJob, build_shard
from toolkit.task import AttributeTask
from toolkit.versions import installed
from toolkit.words import counted

_LIBRARIES = (
    *("vlasik-toolkit", "albumentations", "av", "diffusers", "embreex", "isal", "mediapipe", "numpy"),
    *("opencv-contrib-python", "pillow", "pyfacer", "scipy", "torch", "transformers", "trimesh"),
)


def build_dataset(
    config: BuildConfig, observer: BuildObserver | None = None, executor: Executor | None = None
) -> BuildReport:
    """Build a dataset, or finish an interrupted build (V-LASIK, section C.1).

    The same task, options, seed and videos give the same files, for any number of workers and after any number of
    interruptions. If a source fails, the others are still built; see `BuildReport.failed`. Ctrl-C and SIGTERM stop the
    workers and raise KeyboardInterrupt. Processes are spawned, so a script that calls this function needs an
    ``if __name__ == "__main__"`` guard.

    Args:
        config: the settings.
        observer: receives progress, skipped and failed videos.
        executor: builds the shards; processes on this machine if None.

    Raises:
        UsageError: an unknown task, option or device, or an output folder that holds something else.
        InputError: a path does not exist or holds no video, or no source gave a pair.
        MissingExtra: the task or the analyser needs a package that is not installed.
        OutputError: the dataset cannot be written.
    """
    observer = observer or BuildObserver()
    task = load_task(config.task, config.options)
    settings = config.resolved(task.uses_inpainter())
    executor = executor or _processes(settings)
    observer.phase("inspecting the videos", None, "videos")
    plan = make_plan(settings, observer.note)
    folder = OutputFolder(settings.output, _document(settings, task, plan))
    with termination_interrupts(RESUMES), folder:
        try:
            failures = _build_shards(settings, plan, folder, observer, executor)
        except SetupError:
            if not folder.records:
                folder.discard()  # so that a corrected command can use the folder
            raise
        sources = [source_record(source, plan, folder.records, failures) for source in plan.sources]
        for source in sources:
            _report_unused(source, observer)
        manifest = _manifest(settings, task, plan, folder, sources)
        if not manifest.pairs:
            folder.discard()
            raise InputError(_no_pairs(manifest))
        _same_columns(manifest)
        _finish(folder, manifest, task)
    return BuildReport(settings.output, manifest, _warnings(settings, manifest))


def _processes(settings: ResolvedBuild) -> ProcessExecutor:
    if settings.inpainter is None:
        return ProcessExecutor(settings.workers, threads=1)
    # A single inpainting model uses all cores, or as many as OMP_NUM_THREADS allows.
    threads = None if settings.workers == 1 else max(1, available_cores() // settings.workers)
    return ProcessExecutor(settings.workers, threads=threads)


def _build_shards(
    settings: ResolvedBuild, plan: Plan, folder: OutputFolder, observer: BuildObserver, executor: Executor
) -> dict[str, list[str]]:
    """Build the missing shards; returns reasons of failure by the sources' digests."""
    finished = [folder.records[segment.name] for segment in plan.segments if segment.name in folder.records]
    missing = [segment for segment in plan.segments if segment.name not in folder.records]
    frames, clips = sum(shard.frames for shard in finished), sum(shard.clips for shard in finished)
    for problem in folder.damaged:
        observer.warning(f"{problem}; it is built again")
    if finished:
        observer.note(
            f"resuming: {len(finished)} of {counted(len(plan.segments), 'shards')} finished, "
            f"with {counted(clips, 'clips')}"
        )
    observer.phase("building", sum(segment.frames for segment in plan.segments), "frames", frames)
    for source in plan.unusable:
        _report_unused(source, observer)
    failures: dict[str, list[str]] = defaultdict(list)
    # The longest first, so that no worker is left alone with a long one at the end.
    jobs = [ShardJob(settings, segment) for segment in sorted(missing, key=lambda segment: -segment.frames)]
    with contextlib.closing(executor.run(build_shard, jobs)) as outcomes:
        for outcome in outcomes:
            segment = outcome.item.segment
            if outcome.error is None:
                folder.record(outcome.value)
                observer.shard_finished(outcome.value)
                for note in outcome.value.notes:
                    observer.warning(f"{segment.source.name}: {note}")
                frames, clips = frames + outcome.value.frames, clips + outcome.value.clips
                observer.advance(frames, clips=clips)
            elif isinstance(outcome.error, OutputError | SetupError | MissingExtra | UsageError):
                raise outcome.error  # the next source would fail in the same way
            else:
                reason = str(outcome.error).replace(str(segment.source.path), segment.source.name)
                failures[segment.source.digest].append(reason)
                if outcome.details:
                    observer.bug(segment.source.name, outcome.details)
    return failures


def _report_unused(source: SourceRecord, observer: BuildObserver) -> None:
    if source.status == "failed":
        observer.failed(source.name, source.reason or "")
    elif source.status == "skipped":
        observer.skipped(source.name, source.reason or "")


def _document(settings: ResolvedBuild, task: AttributeTask, plan: Plan) -> dict[str, Any]:
    """The content of `config.json`."""
    content = settings.content() | {"task": task.name, "options": task.options.model_dump(mode="json")}
    for values, model in ((content["faces"], settings.faces), (content["options"], task.options)):
        values |= {name: content_digest(value) for name, value in model if isinstance(value, Path)}
    versions = {"schema": str(SCHEMA_VERSION), "python": ".".join(python_version_tuple()[:2])}
    versions |= installed(_LIBRARIES)
    plugin = entry(settings.task)
    versions[plugin.distribution] = plugin.version
    inputs = [{"name": name, "sha256": digest} for name, digest in plan.inputs]
    document = {"config": content, "versions": versions, "inputs": inputs}
    if settings.inpainter is not None:
        from toolkit.backbones import backbone_names, describe, identity

        document["backbone"] = identity(describe(settings.inpainter.backbone))
        if settings.inpainter.backbone not in backbone_names():
            del content["inpainting"]["backbone"]  # its content counts, so that the folder may be moved
        if settings.inpainter.pipeline is not None:
            content["inpainting"]["pipeline"] = content_digest(settings.inpainter.pipeline)
    return document


def _manifest(
    settings: ResolvedBuild, task: AttributeTask, plan: Plan, folder: OutputFolder, sources: list[SourceRecord]
) -> Manifest:
    shards = [folder.records[segment.name] for segment in plan.segments if segment.name in folder.records]
    return Manifest(
        format=settings.format,
        task=task.name,
        resolution=settings.resolution,
        clips=sum(shard.clips for shard in shards),
        pairs=sum(shard.pairs for shard in shards),
        sources=sorted([*sources, *plan.unusable], key=lambda source: (source.name, source.sha256 or "")),
        shards=shards,
    )


def _no_pairs(manifest: Manifest) -> str:
    reasons = [f"{source.name}: {source.reason}" for source in manifest.sources]
    if len(reasons) > 5:
        reasons[5:] = [f"and {len(reasons) - 5} more"]
    found = "; ".join(reasons)
    videos = counted(len(manifest.sources), "videos")
    return f"no pair could be made from {videos} ({found}); use videos with visible faces"


def _same_columns(manifest: Manifest) -> None:
    """Check that readers find one table.

    Raises:
        ContractError: the task described its pairs differently in different shards.
    """
    kinds = {tuple(shard.columns.items()): shard.name for shard in manifest.shards if shard.pairs}
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        raise ContractError(
            f"the task {manifest.task!r} must give every pair the same info, "
            f"found {dict(first)} in {one} and {dict(second)} in {other}"
        )


def _finish(folder: OutputFolder, manifest: Manifest, task: AttributeTask) -> None:
    text = manifest_bytes(manifest)
    path = folder.root / MANIFEST
    files = {CARD: render_card(manifest, task.description, task.prompt).encode()}
    if not (path.is_file() and path.read_bytes() == text and (folder.root / PREVIEW).is_file()):
        files[PREVIEW] = encode_png(render_preview(folder.root, manifest))
    folder.finish({**files, MANIFEST: text})


def _warnings(settings: ResolvedBuild, manifest: Manifest) -> list[str]:
    if settings.validation_fraction and not any(s.split == "validation" and s.pairs for s in manifest.shards):
        return ["no pairs are held out for validation; add videos of other people"]
    return []
