"""Makes videos of people who do not exist, for datasets when real videos of many people are missing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from toolkit.errors import InputError, ToolkitError, UsageError
from toolkit.executor import Executor, ProcessExecutor, available_cores
from toolkit.files import differences, read_json, sha256_of, write_json
from toolkit.interruption import RESUMES, termination_interrupts
from toolkit.portraits.listing import list_portraits
from toolkit.progress import Observer

if TYPE_CHECKING:
    from toolkit.portraits.people import SyntheticPeople

SETTINGS, CACHE = "settings.json", ".portraits"

CRF = 10.0
"""x264 quality of the files. It is high because the simulated camera already adds noise and compression."""


class PeopleConfig(BaseModel):
    """Settings of `toolkit make-people`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    portraits: Path = Field(description="Folder of frontal portraits (.jpg, .png); backgrounds are cut away.")
    manifest: Path | None = Field(
        None, description="CSV file that lists the portraits to use in a column `file`. If unset, all are used."
    )
    only: str | None = Field(None, description="Use only the rows of the manifest whose column `use` holds this text.")
    drive: list[Path] = Field(
        [],
        description="Videos of faces whose head poses, expressions and blinks the people copy. Their pictures are not "
        "used. If unset, heads turn smoothly.",
    )
    photos: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the videos that show one of the portraits as it is, with its own background and light, "
        "instead of a person made of several.",
    )
    output: Path = Field(description="Folder of the videos. Interrupted runs resume.")
    clips: int = Field(1000, ge=1, le=1_000_000, description="Number of videos; each shows another person.")
    frames: int = Field(8, ge=1, le=10_000, description="Frames of each video, at 25 frames a second.")
    size: int = Field(352, ge=64, le=2048, multiple_of=2, description="Width and height of the videos in pixels.")
    crop_scale: float = Field(2.2, ge=1, le=4, description="Width of the video divided by the width of the face.")
    workers: int | None = Field(
        None, ge=1, le=256, description="Processes that work in parallel. If unset, one for each core."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Random seed; equal seeds and portraits give equal people.")


@dataclass(frozen=True)
class _Job:
    config: PeopleConfig
    index: int
    path: Path


def make_people(config: PeopleConfig, observer: Observer | None = None, executor: Executor | None = None) -> int:
    """Write the videos that do not exist yet; see `SyntheticPeople`.

    Args:
        config: the settings.
        observer: receives the progress, in videos.
        executor: makes the videos; processes on this machine if None.

    Returns:
        The number of videos that this call made.

    Raises:
        InputError: the portraits cannot be used.
        UsageError: the output was made with other settings, or is a file.
        ToolkitError: a video cannot be written.
    """
    from toolkit.portraits.driving import load_movements
    from toolkit.portraits.portrait import load_portraits

    observer = observer or Observer()
    _claim(config)
    load_portraits(list_portraits(config.portraits, config.manifest, config.only), config.output / CACHE)
    load_movements(config.drive, config.output / CACHE)
    paths = [config.output / f"{index:06d}.mp4" for index in range(config.clips)]
    jobs = [_Job(config, index, path) for index, path in enumerate(paths) if not path.exists()]
    existing = config.clips - len(jobs)
    observer.phase("making people", config.clips, "videos", existing)
    executor = executor or ProcessExecutor(config.workers or available_cores())
    with termination_interrupts(RESUMES), closing(executor.run(_make, jobs)) as outcomes:
        for done, outcome in enumerate(outcomes, existing + 1):
            if outcome.error is not None:
                raise outcome.error
            observer.advance(done)
    return len(jobs)


def _make(job: _Job) -> None:
    from toolkit.portraits.driving import FPS
    from toolkit.seeds import generator
    from toolkit.video import VideoWriter

    config = job.config
    people = _people(
        config.portraits, config.manifest, config.only, tuple(config.drive), config.output / CACHE, config.photos
    )
    rng = generator("made people", config.seed, job.index)
    clip = people.clip(rng, config.frames, config.size, config.crop_scale)
    with VideoWriter(job.path, fps=FPS, crf=CRF) as writer:
        for frame in clip.frames:
            writer.write(frame)


@lru_cache(1)
def _people(
    folder: Path, manifest: Path | None, only: str | None, drive: tuple[Path, ...], cache: Path, photos: float
) -> SyntheticPeople:
    import cv2

    from toolkit.portraits.driving import load_movements
    from toolkit.portraits.people import SyntheticPeople
    from toolkit.portraits.portrait import load_portraits

    cv2.setNumThreads(1)
    portraits = load_portraits(list_portraits(folder, manifest, only), cache)
    return SyntheticPeople(portraits, load_movements(drive, cache), photos)


def _claim(config: PeopleConfig) -> None:
    """Create the output and save the settings in it, or check that it was made with the same ones."""
    path = config.output / SETTINGS
    wanted = config.model_dump(mode="json", exclude={"output", "clips", "workers", "portraits", "manifest", "drive"})
    if config.drive:
        wanted["drive"] = [_digest(video) for video in config.drive]
    if config.output.exists() and not config.output.is_dir():
        raise UsageError(f"the output {config.output} must be a folder, found a file; choose another output")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            try:
                found = read_json(path)
            except ValueError:
                found = {}
            if found != wanted:
                changed = "; ".join(differences(found, wanted))
                raise UsageError(f"{config.output} was made with other settings: {changed}; choose another output")
            return
        write_json(path, wanted, durable=True)
    except OSError as error:
        raise ToolkitError(f"the output {config.output} cannot be written: {error.strerror}") from error


def _digest(video: Path) -> str:
    try:
        return sha256_of(video)
    except OSError as error:
        raise InputError(f"the video {video} cannot be read: {error.strerror}") from error
