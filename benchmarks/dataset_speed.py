"""Measures what `toolkit build-dataset` costs, next to face analysis alone and to an earlier revision of the toolkit.

    python -m benchmarks.dataset_speed [--against REV] [--videos FILE ...] [--part stickers glasses length]

Each figure is a ratio of two runs that follow each other on the same files: by default two videos of the sample clip,
512 pixels wide. CPU time is user and system time of the whole process tree, start-up included, with one worker. Prints
the ratios beside their limits and the time of each stage, and exits with 1 if a limit is missed. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.against import HERE, Cost, python, revision, toolkit

BASELINE = "cbd5524"
"""The last revision before this was measured."""

LENGTHS, SIDE = (1000, 1001), 512
"""Frames of the videos, which differ because equal files count once, and their side in pixels."""

LONG, SEGMENT, SMALL = 20_000, 1000, 160
"""Frames of the long video and of a segment, and its side in pixels."""

LIMITS = {"stickers": 2.0, "glasses": 2.0, "length": 1.3}
"""At most for stickers and length, at least for glasses."""

STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "reading videos": (("toolkit.video.decode", "read_frames"),),
    "face analysis": (("toolkit.faces.mediapipe", "MediapipeAnalyser.analyse"),),
    "tracking and cuts": (
        ("toolkit.faces.tracking", "FaceTracker.update"),
        ("toolkit.video.scenes", "SceneCutDetector.update"),
    ),
    "crops": (("toolkit.synthesis.reader", "_clip"),),
    "checks": (("toolkit.synthesis.shards", "check_pair"),),
    "PNG": (("toolkit.synthesis.shards", "encode_png"),),
    "files": (("toolkit.dataset.writer", "FolderWriter.add"), ("toolkit.dataset.writer", "FolderWriter.commit")),
}
"""Functions whose time is added up; what the task draws is in "pairs"."""


class Bench:
    """Videos, and datasets built from them.

    Args:
        folder: for videos and datasets.
        old: source of the earlier revision.
        videos: to build from; by default the sample.
        rounds: how often each pair of commands runs; the median ratio counts.
        quick: use a few frames only, whose ratios mean nothing.
    """

    def __init__(self, folder: Path, old: Path, videos: list[Path] | None, rounds: int, quick: bool):
        self.folder, self.old, self.rounds, self.quick = folder, old, 1 if quick else rounds, quick
        self.videos = videos or [self.video(40 + k if quick else n, SIDE) for k, n in enumerate(LENGTHS)]
        self.missed = False

    def video(self, frames: int, side: int) -> Path:
        """The sample clip as a video; made at its first use."""
        path = self.folder / f"sample-{frames}-{side}.mp4"
        if not path.exists():
            code = "import sys, benchmarks.dataset_speed as b; b.write(*sys.argv[1:])"
            python(HERE, "-c", code, path, frames, side)
        return path

    def build(self, source: Path, task: str) -> Cost:
        """Build a dataset with the toolkit in `source` and one worker."""
        output = self.folder / "dataset"
        shutil.rmtree(output, ignore_errors=True)
        options: list[object] = ["--workers", 1, "--output", output, "--videos", *self.videos]
        if task == "glasses":
            # The earliest revisions have an option of their own for each option of a task.
            help_text = (source / "docs" / "glasses.md").read_text(encoding="utf-8")
            rendered = ["--task-option", "pairs=render"] if "--task-option" in help_text else ["--pairs", "render"]
            options = [*rendered, *options]
        return toolkit(source, "build-dataset", "--task", task, *options)

    def child(self, function: str, *arguments: object) -> Any:
        """The result of a function of this module in a process of its own."""
        target = self.folder / "result.json"
        code = "import sys, benchmarks.dataset_speed as b; getattr(b, sys.argv[1])(*sys.argv[2:])"
        python(HERE, "-c", code, function, target, *arguments)
        return json.loads(target.read_text(encoding="utf-8"))

    def show(self, name: str, values: list[float], note: str) -> None:
        """Print a ratio beside its limit."""
        value, limit, rising = statistics.median(values), LIMITS[name], name == "glasses"
        good = value >= limit if rising else value <= limit
        self.missed |= not good
        spread = f" [{min(values):.2f}, {max(values):.2f}]" if len(values) > 1 else ""
        bound = f"at {'least' if rising else 'most'} {limit:g}"
        print(f"{name:9}{value:6.2f}{spread} ({bound}) {'ok' if good else 'MISSED'}: {note}", flush=True)

    def breakdown(self, task: str) -> None:
        """Print milliseconds of CPU time a frame by stage, of a build in one process."""
        spent = self.child("stages", task, *self.videos)
        frames = spent.pop("frames")
        listed = ", ".join(f"{name} {1000 * seconds / frames:.1f}" for name, seconds in spent.items())
        print(f"{'':9}milliseconds of CPU time a frame by stage: {listed}", flush=True)


# Parts


def stickers(bench: Bench) -> None:
    """A build of stickers next to the analysis of faces that it needs."""
    ratios = []
    for _ in range(bench.rounds):
        alone = bench.child("analyse", *bench.videos)
        before, now = bench.build(bench.old, "stickers"), bench.build(HERE, "stickers")
        ratios.append(now.cpu / alone["cpu"])
    milliseconds = [1000 * seconds / alone["frames"] for seconds in (before.cpu, now.cpu, alone["cpu"])]
    note = "{:.1f} before, {:.1f} now, {:.1f} face analysis, in ms a frame".format(*milliseconds)
    bench.show("stickers", ratios, f"CPU time of build-dataset --task stickers / face analysis alone: {note}")
    bench.breakdown("stickers")


def glasses(bench: Bench) -> None:
    """A build of rendered glasses, before and now."""
    runs = [(bench.build(bench.old, "glasses"), bench.build(HERE, "glasses")) for _ in range(bench.rounds)]
    frames = bench.child("count", *bench.videos)
    before, now = (1000 * cost.cpu / frames for cost in runs[-1])
    bench.show(
        "glasses",
        [one.cpu / other.cpu for one, other in runs],
        f"CPU time before / now of build-dataset --task glasses, rendered pairs: {before:.1f} / {now:.1f} ms a frame",
    )
    bench.breakdown("glasses")


def length(bench: Bench) -> None:
    """Reading the segments of a long video one by one, next to reading it at once."""
    frames = 2000 if bench.quick else LONG
    video = bench.video(frames, SMALL)
    spent = [bench.child("read", video, frames, SEGMENT) for _ in range(bench.rounds)]
    bench.show(
        "length",
        [once["parts"] / once["whole"] for once in spent],
        f"CPU time of reading {frames} frames in segments of {SEGMENT} / at once",
    )


PARTS: dict[str, Callable[[Bench], None]] = {"stickers": stickers, "glasses": glasses, "length": length}


# What runs in child processes, so that every measurement starts from nothing


def write(path: str, frames: str, side: str) -> None:
    """Write the sample clip as a video."""
    from toolkit.testing.sample import write_sample_video

    write_sample_video(Path(path), frames=int(frames), size=int(side))


def count(target: str, *videos: str) -> None:
    """Write the number of frames of videos."""
    from toolkit.video import read_frames

    Path(target).write_text(json.dumps(sum(1 for video in videos for _ in read_frames(video))), encoding="utf-8")


def analyse(target: str, *videos: str) -> None:
    """Write the CPU seconds of the analysis of faces, without reading the videos and without loading the models."""
    import cv2

    from toolkit.faces import create_analyser
    from toolkit.video import read_frames

    cv2.setNumThreads(1)
    spent: list[float] = []
    for video in videos:
        analyser = create_analyser("mediapipe", max_faces=4)
        for frame in read_frames(video):
            started = time.process_time()
            analyser.analyse(frame.image)
            spent.append(time.process_time() - started)
        analyser.close()
    rest = spent[1:]  # the first frame also loads the models
    found = {"cpu": sum(rest) / len(rest) * len(spent), "frames": len(spent)}
    Path(target).write_text(json.dumps(found), encoding="utf-8")


def stages(target: str, task: str, *videos: str) -> None:
    """Write the CPU seconds of each stage of a build in this process."""
    import functools
    import importlib

    import cv2

    from toolkit.executor import InlineExecutor
    from toolkit.synthesis import shards
    from toolkit.synthesis.build import build_dataset
    from toolkit.synthesis.config import BuildConfig

    cv2.setNumThreads(1)
    spent = dict.fromkeys([*STAGES, "pairs"], 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                result = function(*arguments, **named)
            finally:
                spent[name] += time.process_time() - started
            return drawn(name, result) if hasattr(result, "__next__") else result

        return call

    def drawn(name: str, results: Any) -> Any:
        while True:
            started = time.process_time()
            try:
                item = next(results)
            except StopIteration:
                return
            finally:
                spent[name] += time.process_time() - started
            yield item

    for name, functions in STAGES.items():
        for module, path in functions:
            *owner, attribute = path.split(".")
            home = functools.reduce(getattr, owner, importlib.import_module(module))
            setattr(home, attribute, timed(name, getattr(home, attribute)))
    importlib.import_module("toolkit.video").read_frames = importlib.import_module("toolkit.video.decode").read_frames
    machinery = shards._machinery

    def with_timed_pairs(config: str) -> tuple[Any, ...]:
        task_, generate, *rest = machinery(config)
        return (task_, timed("pairs", generate), *rest)

    shards._machinery = with_timed_pairs  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        options = {"pairs": "render"} if task == "glasses" else {}
        config = BuildConfig(
            task=task, options=options, videos=[Path(video) for video in videos], output=Path(folder) / "dataset"
        )
        report = build_dataset(config, executor=InlineExecutor())
    found: dict[str, float] = dict(spent)
    found["start-up and the rest"] = time.process_time() - sum(spent.values())
    found["frames"] = sum(shard.frames for shard in report.manifest.shards)
    Path(target).write_text(json.dumps(found), encoding="utf-8")


def read(target: str, video: str, frames: str, segment: str) -> None:
    """Write the CPU seconds of reading a video at once and in segments."""
    from toolkit.video import read_frames

    def seconds(ranges: list[tuple[int, int]]) -> float:
        started = time.process_time()
        for start, stop in ranges:
            for _ in read_frames(video, start, stop):
                pass
        return time.process_time() - started

    step, end = int(segment), int(frames)
    found = {"whole": seconds([(0, end)]), "parts": seconds([(k, min(k + step, end)) for k in range(0, end, step)])}
    Path(target).write_text(json.dumps(found), encoding="utf-8")


def main() -> int:
    """Run the parts; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=BASELINE, metavar="REV", help="revision to compare with")
    parser.add_argument("--videos", nargs="+", type=Path, help="videos to build from, instead of the sample clip")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=1, help="how often each pair of commands runs")
    parser.add_argument("--quick", action="store_true", help="a few frames only: the ratios mean nothing")
    args = parser.parse_args()
    videos = args.videos and [video.absolute() for video in args.videos]
    with tempfile.TemporaryDirectory() as folder, revision(args.against) as old:
        bench = Bench(Path(folder), old, videos, args.rounds, args.quick)
        for part in args.part:
            PARTS[part](bench)
    return int(bench.missed and not args.quick)


if __name__ == "__main__":
    sys.exit(main())
