"""Builds one shard: reads a segment of a source, stores its pairs and returns the shard's record."""

from __future__ import annotations

import contextlib
import errno
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from toolkit import seeds
from toolkit.dataset.layout import COLUMNS, PICTURES, WORK, ShardRecord, shard_path
from toolkit.dataset.png import encode_png
from toolkit.dataset.writer import ShardWriter, open_shard
from toolkit.errors import ContractError, ToolkitError
from toolkit.faces.config import build_analyser
from toolkit.faces.types import FaceAnalyser
from toolkit.synthesis.config import ResolvedBuild
from toolkit.synthesis.plan import Segment
from toolkit.synthesis.reader import ReadCounts, TrackedClip, read_clips
from toolkit.synthesis.validator import check_pair
from toolkit.task import AttributeTask, Inpainter, Pair, PairGenerator

TOO_FEW = "clip with too few samples"


class OutputError(ToolkitError):
    """The dataset cannot be written: the disk is full, or the folder refuses."""

    @classmethod
    def of(cls, error: OSError, root: Path) -> OutputError:
        """Describe an error of the operating system."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            problem = f"no space is left for the dataset {root} ({error.strerror}); free some"
        else:
            problem = f"the dataset {root} cannot be written ({error.strerror}); repair that"
        return cls(f"{problem} and run the same command again: finished shards are kept")


class SetupError(ToolkitError):
    """The task, the face analyser or the inpainter cannot be set up, so every source would fail.

    Its exit code is that of the underlying error.
    """


@dataclass(frozen=True)
class ShardJob:
    """One shard to build, with everything that a worker process needs."""

    config: ResolvedBuild
    segment: Segment


class RunTools:
    """The `Tools` of a build: face analysers and the inpainter, each built on first use and kept."""

    def __init__(self, config: ResolvedBuild):
        self._config = config
        self._analysers: dict[str, FaceAnalyser] = {}
        self._inpainter: Inpainter | None = None
        self.dropped: Counter[str] = Counter()
        self.left_out = 0

    def analyser(self, name: str | None = None) -> FaceAnalyser:
        name = name or self._config.faces.analyser
        if name not in self._analysers:
            self._analysers[name] = build_analyser(self._config.faces, self._config.device, name=name)
        return self._analysers[name]

    def inpainter(self) -> Inpainter:
        if self._inpainter is None:
            from toolkit.synthesis.inpainter import create_inpainter

            if self._config.inpainter is None:
                raise ContractError(
                    f"the task {self._config.task!r} calls `inpainter`, so its `uses_inpainter` must return True"
                )
            with _as_setup():
                self._inpainter = create_inpainter(self._config.inpainter, self._config.device)
        return self._inpainter

    def leave_out(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] += count
        self.left_out += count

    def reset(self) -> None:
        """Start a new clip, so that no analyser remembers the last one."""
        self.left_out = 0
        for analyser in self._analysers.values():
            analyser.reset()


@lru_cache(maxsize=1)
def _machinery(config_json: str) -> tuple[AttributeTask, PairGenerator, FaceAnalyser, RunTools]:
    """The task and the models of a build, loaded once per process."""
    from toolkit.registry import load_task

    config = ResolvedBuild.model_validate(json.loads(config_json))
    with _as_setup():
        task = load_task(config.task, config.options)
        # Analysers follow faces from frame to frame, so the reader does not share its own with the task.
        analyser = build_analyser(config.faces, config.device)
        tools = RunTools(config)
        if task.uses_inpainter():
            tools.inpainter()  # a missing model ends the build now, not after minutes of reading
        return task, task.pair_generator(), analyser, tools


@contextlib.contextmanager
def _as_setup() -> Iterator[None]:
    """Turn errors into `SetupError`, which ends the build."""
    try:
        yield
    except SetupError:
        raise
    except ToolkitError as error:
        setup = SetupError(str(error))
        setup.exit_code = error.exit_code
        raise setup from error


def build_shard(job: ShardJob) -> ShardRecord:
    """Build and store one shard. The result depends only on the job.

    Raises:
        SetupError: the task or the analyser cannot be set up.
        InputError: the source cannot be read.
        ContractError: the task broke its contract.
        OutputError: the dataset cannot be written.
    """
    config, segment = job.config, job.segment
    task, generate, analyser, tools = _machinery(json.dumps(config.model_dump(mode="json")))
    counts = ReadCounts()
    tools.dropped = counts.dropped
    columns: dict[str, str] | None = None
    writer: ShardWriter | None = None
    clips = pairs = 0
    sha256 = None
    with contextlib.closing(read_clips(segment, analyser, config, counts)) as read:
        for tracked in read:
            clip = tracked.clip
            tools.reset()
            rng = seeds.generator(config.seed, task.name, clip.source_digest, clip.start_frame, tracked.track)
            samples = list(_samples(task, generate(clip, rng, tools), tracked, config, counts.dropped))
            if len(samples) < config.min_clip_length:
                if samples or not tools.left_out:  # otherwise the task has given the reason
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
        notes=[note.sentence for note in counts.notes],
        dropped={reason: number for reason, number in sorted(counts.dropped.items()) if number},
    )


def _samples(
    task: AttributeTask, pairs: Iterable[Pair], tracked: TrackedClip, config: ResolvedBuild, dropped: Counter
) -> Iterator[tuple[str, dict[str, bytes], dict[str, object]]]:
    """Key, encoded pictures and row of each valid pair."""
    clip = tracked.clip
    limits = task.limits()
    clip_id = f"{clip.source_digest[:12]}-{clip.start_frame:07d}-{tracked.track:02d}"
    seen: set[int] = set()
    for pair in pairs:
        if pair.index in seen:
            raise ContractError(f"the task {task.name!r} returned two pairs for one frame of the clip {clip_id}")
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
    """A value of `Pair.info` as a JSON value."""
    value = value.item() if isinstance(value, np.generic) else value
    if name in COLUMNS or any(name in (picture, f"{picture}_file_name") for picture in PICTURES):
        raise ContractError(f"the task {task!r} must not use {name!r} in a pair's info: every row has that column")
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not np.isfinite(value)):
        raise ContractError(f"the task {task!r} must use texts and finite numbers as info, found {name}={value!r}")
    return value
