"""Builds one shard, in whichever process: a segment of a source in, its pairs on disk and a record out."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from toolkit import seeds
from toolkit.dataset.layout import COLUMNS, PICTURES, WORK, ShardRecord, shard_path
from toolkit.dataset.png import encode_png
from toolkit.dataset.writer import ShardWriter, open_shard
from toolkit.errors import ContractError, ToolkitError
from toolkit.faces.types import FaceAnalyser
from toolkit.synthesis.config import BuildConfig
from toolkit.synthesis.plan import Segment
from toolkit.synthesis.reader import ReadCounts, TrackedClip, read_clips
from toolkit.synthesis.validator import check_pair
from toolkit.task import AttributeTask, Inpainter, Pair, PairGenerator

TOO_FEW = "clip with too few samples"

_ANALYSER_SETTINGS = ("model_file", "detector_file", "parser_file", "aligner_file", "device")


class OutputError(ToolkitError):
    """The dataset cannot be written: the disk is full, or the folder refuses."""

    @classmethod
    def of(cls, error: OSError, root: Path) -> OutputError:
        """The sentence for an error of the operating system."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            what = f"no space is left for the dataset {root} ({error.strerror}); free some"
        else:
            what = f"the dataset {root} cannot be written ({error.strerror}); repair that"
        return cls(f"{what} and run the same command again: finished shards are kept")


class SetupError(ToolkitError):
    """The task or the face analyser cannot be set up; it would be the same for every source.

    Its exit code is that of the error behind it.
    """


@dataclass(frozen=True)
class ShardJob:
    """One shard to build, with all that a process needs to know."""

    config: BuildConfig
    segment: Segment


class RunTools:
    """The `Tools` of a run: face analysers and the inpainter, each built at its first use and kept."""

    def __init__(self, config: BuildConfig):
        self._config = config
        self._analysers: dict[str, FaceAnalyser] = {}
        self._inpainter: Inpainter | None = None
        self.dropped: Counter[str] = Counter()
        self.left_out = 0

    def analyser(self, name: str | None = None) -> FaceAnalyser:
        name = name or self._config.analyser
        if name not in self._analysers:
            self._analysers[name] = _create_analyser(self._config, name)
        return self._analysers[name]

    def inpainter(self) -> Inpainter:
        if self._inpainter is None:
            from toolkit.synthesis.inpainter import BackboneInpainter

            with _as_setup():
                self._inpainter = BackboneInpainter(self._config.inpainting, self._config.device)
        return self._inpainter

    def leave_out(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] += count
        self.left_out += count

    def reset(self) -> None:
        """A new clip begins: what a task analysed before must not show in it."""
        self.left_out = 0
        for analyser in self._analysers.values():
            analyser.reset()


def _create_analyser(config: BuildConfig, name: str) -> FaceAnalyser:
    from toolkit.faces import create_analyser

    # Files are those of the run's own analyser; another one that a task asks for has its weights in the cache.
    names = _ANALYSER_SETTINGS if name == config.analyser else ("device",)
    settings = {key: getattr(config, key) for key in names}
    return create_analyser(name, max_faces=config.max_faces, **settings)


@lru_cache(maxsize=1)
def _machinery(config_json: str) -> tuple[AttributeTask, PairGenerator, FaceAnalyser, RunTools]:
    """Models of a run, loaded once per process."""
    from toolkit.registry import load_task

    config = BuildConfig.model_validate_json(config_json)
    with _as_setup():
        task = load_task(config.task, config.options)
        # The reader's analyser is its own: what a task analyses must not disturb the reader's place in the video.
        analyser = _create_analyser(config, config.analyser)
        tools = RunTools(config)
        if task.uses_inpainter():
            tools.inpainter()  # now, and not after minutes of reading, it is known whether there is one
        return task, task.pair_generator(), analyser, tools


@contextlib.contextmanager
def _as_setup() -> Iterator[None]:
    """What fails in here fails for every source: it ends the run."""
    try:
        yield
    except SetupError:
        raise
    except ToolkitError as error:
        setup = SetupError(str(error))
        setup.exit_code = error.exit_code
        raise setup from error


def build_shard(job: ShardJob) -> ShardRecord:
    """Build and store one shard. The result depends on nothing but the job.

    Raises:
        SetupError: the task or the analyser cannot be set up.
        InputError: the source cannot be read.
        ContractError: the task gave something wrong.
        OutputError: the dataset cannot be written.
    """
    config, segment = job.config, job.segment
    task, generate, analyser, tools = _machinery(config.model_dump_json())
    counts = ReadCounts()
    tools.dropped = counts.dropped
    columns: dict[str, str] | None = None
    writer: ShardWriter | None = None
    clips = pairs = 0
    sha256 = None
    for tracked in read_clips(segment, analyser, config, counts):
        clip = tracked.clip
        tools.reset()
        rng = seeds.generator(config.seed, task.name, clip.source_digest, clip.start_frame, tracked.track)
        samples = list(_samples(task, generate(clip, rng, tools), tracked, config, counts.dropped))
        if len(samples) < config.min_clip_length:
            if samples or not tools.left_out:  # else the task has said why
                counts.dropped[TOO_FEW] += 1
            continue
        for key, pictures, row in samples:
            own = {name: type(value).__name__ for name, value in row.items() if name not in COLUMNS}
            columns = own if columns is None else columns
            if own != columns:
                raise ContractError(
                    f"the task {task.name!r} must give every pair the same info, {columns}, found {own}"
                )
            try:
                writer = writer or open_shard(
                    config.output, config.output / WORK / "tmp", config.format, segment.split, segment.name
                )
                writer.add(key, pictures, row)
            except OSError as error:
                raise OutputError.of(error, config.output) from error
        clips += 1
        pairs += len(samples)
        if clips == segment.max_clips:
            break
    if writer is not None:
        try:
            sha256 = writer.commit()
        except OSError as error:
            raise OutputError.of(error, config.output) from error
    return ShardRecord(
        name=segment.name,
        split=segment.split,
        source_digest=segment.source.digest,
        path=None if writer is None else str(shard_path(config.format, segment.split, segment.name)),
        sha256=sha256,
        frames=counts.frames,
        frames_with_face=counts.frames_with_face,
        clips=clips,
        pairs=pairs,
        columns=columns or {},
        dropped={reason: number for reason, number in sorted(counts.dropped.items()) if number},
    )


def _samples(
    task: AttributeTask, made: Iterator[Pair], tracked: TrackedClip, config: BuildConfig, dropped: Counter
) -> Iterator[tuple[str, dict[str, bytes], dict[str, object]]]:
    """Key, encoded pictures and row of each good pair."""
    clip = tracked.clip
    limits = task.limits()
    clip_id = f"{clip.source_digest[:12]}-{clip.start_frame:07d}-{tracked.track:02d}"
    seen: set[int] = set()
    for pair in made:
        if pair.index in seen:
            raise ContractError(f"the task {task.name!r} gave two pairs for one frame of the clip {clip_id}")
        seen.add(pair.index)
        reason = check_pair(pair, clip, task.name, limits)
        if reason is not None:
            dropped[reason] += 1
            continue
        index = clip.start_frame + int(pair.index)
        row = {
            "text": task.prompt,
            "task": task.name,
            "clip_id": clip_id,
            "frame_index": index,
            "time": round(float(clip.times[pair.index]), 6),
            "source": clip.source,
            "source_digest": clip.source_digest,
            "face_box": [round(float(value), 2) for value in tracked.boxes[pair.index]],
            "crop_box": [round(float(value), 2) for value in clip.box],
            "seed": config.seed,
            "mask_area": int(np.count_nonzero(pair.mask)),
        }
        row |= {name: _plain(task.name, name, value) for name, value in pair.info.items()}
        yield f"{clip_id}-{index:07d}", {name: encode_png(getattr(pair, name)) for name in PICTURES}, row


def _plain(task: str, name: str, value: object) -> str | int | float | bool:
    """A value of `Pair.info` as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if name in COLUMNS or any(name in (picture, f"{picture}_file_name") for picture in PICTURES):
        raise ContractError(f"the task {task!r} must not use {name!r} in a pair's info: every row has that column")
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not np.isfinite(value)):
        raise ContractError(f"the task {task!r} must give texts and finite numbers as info, found {name}={value!r}")
    return value
