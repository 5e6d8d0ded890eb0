"""Measures what `toolkit edit` costs, next to an earlier revision of the toolkit.

    python -m benchmarks.edit_speed [--against REV] [--part glasses stickers folder cores size analysis memory length]

Each figure is a ratio of two runs that follow each other on the same files: the sample clip with an attribute drawn on
it. CPU time is user and system time of the whole process tree, start-up included. Prints the ratios beside their
limits and the time of each stage, and exits with 1 if a limit is missed. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.against import HERE, Cost, python, revision, toolkit

BASELINE = "cbd5524"
"""The last revision before this was measured."""

FRAMES, SIDE = 180, 512
"""Frames of a clip, and their side in pixels."""

FOLDER_CLIPS, FOLDER_FRAMES = 16, 40
SHORT, LONG = 400, 4000
"""Frames of the two clips whose peak memory is compared."""

DRAWN = {"glasses": ({"pairs": "render", "sunglasses": 0}, 0), "stickers": ({"size": (0.5, 0.8)}, 11)}
"""Options and seed with which each task draws its attribute on the sample; they give clear lenses and a red heart."""

GIB = 2**30


class Limit(NamedTuple):
    """What a ratio should be: at least `value` if `rising`, else at most."""

    value: float
    rising: bool = True


LIMITS = {
    "glasses": Limit(2.5),
    "region": Limit(4.0),
    "stickers": Limit(2.5),
    "folder": Limit(6.0),
    "cores": Limit(1.3, rising=False),
    "size": Limit(1.25, rising=False),
    "analysis": Limit(12.0, rising=False),
    "memory": Limit(1.2, rising=False),
    "length": Limit(1.1, rising=False),
}


class Bench:
    """Clips, and edits of them.

    Args:
        folder: for clips and results.
        old: source of the earlier revision.
        rounds: how often each pair of commands runs; the median ratio counts.
        quick: use a few frames only, whose ratios mean nothing.
    """

    def __init__(self, folder: Path, old: Path, rounds: int, quick: bool):
        self.folder, self.old, self.rounds, self.quick = folder, old, rounds, quick
        self.missed = False
        self.breakdowns: dict[str, dict[str, tuple[float, float]]] = {}
        """Stages of the edits that were compared with the earlier revision, by part."""
        self._runs = 0

    def clip(self, task: str, frames: int = FRAMES, side: str = "512") -> Path:
        """The sample clip with an attribute drawn on it; made at its first use."""
        frames = min(frames, 24) if self.quick else frames
        path = self.folder / f"{task}-{frames}-{side}.mp4"
        if not path.exists():
            code = "import sys, benchmarks.edit_speed as b; b.draw(*sys.argv[1:])"
            python(HERE, "-c", code, task, frames, side, path)
        return path

    def edit(self, source: Path, clip: Path, task: str, *options: object) -> Cost:
        """Edit a clip, or a folder of clips, with the toolkit in `source`."""
        self._runs += 1
        target = self.folder / f"result-{self._runs}{clip.suffix}"
        return toolkit(source, "edit", clip, target, "--task", task, *options)

    def stages(self, cost: Cost) -> dict[str, tuple[float, float]]:
        """Milliseconds of CPU and of wall time a frame of each stage of the last edit; the largest first.

        They come from its report. What is in no stage is the start and the end of the process, and loading.
        """
        report = json.loads((self.folder / f"result-{self._runs}.mp4.json").read_bytes())
        spent = {name: (stage["cpu"], stage["wall"]) for name, stage in report["stages"].items()}
        rest = cost.cpu - sum(cpu for cpu, _ in spent.values())
        spent["rest"] = rest, max(0.0, cost.wall - sum(report["seconds"].values()))
        scale = 1000 / len(report["frames"])
        order = sorted(spent, key=lambda name: -spent[name][0])
        return {name: (scale * spent[name][0], scale * spent[name][1]) for name in order}

    def ratios(self, one: Callable[[], Cost], other: Callable[[], Cost]) -> list[tuple[Cost, Cost]]:
        """The costs of two commands that take turns."""
        return [(one(), other()) for _ in range(1 if self.quick else self.rounds)]

    def show(self, name: str, values: list[float], note: str) -> None:
        """Print a ratio beside its limit."""
        value, limit = statistics.median(values), LIMITS[name]
        good = value >= limit.value if limit.rising else value <= limit.value
        self.missed |= not good
        spread = f" [{min(values):.2f}, {max(values):.2f}]" if len(values) > 1 else ""
        bound = f"at {'least' if limit.rising else 'most'} {limit.value:g}"
        print(f"{name:9}{value:6.2f}{spread} ({bound}) {'ok' if good else 'MISSED'}: {note}", flush=True)


# Parts


def against(bench: Bench, name: str, task: str, *options: object) -> None:
    """CPU time of the earlier revision over this one's, for one clip."""
    clip = bench.clip(task)
    runs = bench.ratios(lambda: bench.edit(bench.old, clip, task), lambda: bench.edit(HERE, clip, task, *options))
    old, new = runs[-1]
    frames = 24 if bench.quick else FRAMES
    bench.show(
        name,
        [before.cpu / after.cpu for before, after in runs],
        f"CPU time before / now, {' '.join(map(str, ('edit --task', task, *options)))}: "
        f"{1000 * old.cpu / frames:.0f} / {1000 * new.cpu / frames:.0f} ms a frame; wall time "
        f"{1000 * old.wall / frames:.0f} / {1000 * new.wall / frames:.0f} ms",
    )
    bench.breakdowns[name] = stages = bench.stages(new)
    listed = ", ".join(f"{stage} {cpu:.1f} ({wall:.1f})" for stage, (cpu, wall) in stages.items())
    print(f"{'':9}milliseconds of CPU time a frame (wall time, summed over threads): {listed}", flush=True)


def glasses(bench: Bench) -> None:
    against(bench, "glasses", "glasses")


def region(bench: Bench) -> None:
    against(bench, "region", "glasses", "--region", "masks")


def stickers(bench: Bench) -> None:
    against(bench, "stickers", "stickers")


def folder(bench: Bench) -> None:
    """Wall time of a folder of short clips."""
    clips = bench.folder / "clips"
    clips.mkdir(exist_ok=True)
    clip = bench.clip("glasses", FOLDER_FRAMES)
    for number in range(2 if bench.quick else FOLDER_CLIPS):
        copy = clips / f"{number}.mp4"
        copy.exists() or copy.write_bytes(clip.read_bytes())
    runs = bench.ratios(
        lambda: bench.edit(bench.old, clips, "glasses"),
        lambda: bench.edit(HERE, clips, "glasses", "--workers", cores_here()),
    )
    old, new = runs[-1]
    bench.show(
        "folder",
        [before.wall / after.wall for before, after in runs],
        f"wall time before / now, a folder of {FOLDER_CLIPS} clips of {FOLDER_FRAMES} frames, {cores_here()} cores: "
        f"{old.wall:.0f} / {new.wall:.0f} s",
    )


def cores(bench: Bench) -> None:
    """How well the cores are used by one video."""
    clip, count = bench.clip("glasses"), cores_here()
    for workers in (1, count):
        runs = [bench.edit(HERE, clip, "glasses", "--workers", workers) for _ in range(bench.rounds)]
        bench.show(
            "cores",
            [run.wall * count / run.cpu for run in runs],
            f"wall time x {count} cores / CPU time of one video with --workers {workers}: "
            f"{runs[-1].wall:.0f} s, {runs[-1].cpu:.0f} s",
        )


def size(bench: Bench) -> None:
    """What a larger picture around the same face costs."""
    large, small = bench.clip("glasses", side="1080p"), bench.clip("glasses")
    runs = bench.ratios(lambda: bench.edit(HERE, large, "glasses"), lambda: bench.edit(HERE, small, "glasses"))
    one, other = runs[-1]
    bench.show(
        "size",
        [one.cpu / other.cpu for one, other in runs],
        f"CPU time of a 1080p video / a 512-pixel one of the same face: {one.cpu:.0f} / {other.cpu:.0f} s",
    )


def analysis(bench: Bench) -> None:
    """What an edit costs beside face analysis alone."""
    clip = bench.clip("glasses")
    spent = bench.folder / "analysis.json"
    code = "import sys, benchmarks.edit_speed as b; b.analyse(*sys.argv[1:])"
    ratios = []
    for source in (bench.old, HERE):
        edited = bench.edit(source, clip, "glasses")
        python(HERE, "-c", code, clip, spent)
        ratios.append(edited.cpu / json.loads(spent.read_text()))
    note = f"CPU time of an edit / of face analysis alone on the same frames; before {ratios[0]:.1f}"
    bench.show("analysis", ratios[1:], note)


def memory(bench: Bench) -> None:
    """Peak memory of an edit, in GiB."""
    peak = bench.edit(HERE, bench.clip("glasses"), "glasses").peak
    bench.show("memory", [peak / GIB], "peak memory in GiB of an edit with one worker")


def length(bench: Bench) -> None:
    """How memory grows with the length of a video."""
    peaks = [bench.edit(HERE, bench.clip("glasses", frames, "256"), "glasses").peak for frames in (SHORT, LONG)]
    bench.show(
        "length",
        [peaks[1] / peaks[0]],
        f"peak memory of {LONG} / {SHORT} frames of 256 pixels: {peaks[1] / GIB:.2f} / {peaks[0] / GIB:.2f} GiB",
    )


PARTS: dict[str, Callable[[Bench], None]] = {
    "glasses": glasses,
    "region": region,
    "stickers": stickers,
    "folder": folder,
    "cores": cores,
    "size": size,
    "analysis": analysis,
    "memory": memory,
    "length": length,
}


def cores_here() -> int:
    from toolkit.executor import available_cores

    return available_cores()


# What runs in child processes, so that this process stays small


def draw(task: str, frames: str, side: str, path: str, repeated: int = 80) -> None:
    """Write the sample clip with an attribute drawn on it; for ``1080p`` within a larger moving picture.

    Args:
        repeated: frames after which the clip repeats; the sample itself does so after 80.
    """
    import cv2
    import numpy as np

    from toolkit.registry import load_task
    from toolkit.testing.sample import FPS, sample_clip
    from toolkit.video import VideoWriter

    pixels = SIDE if side == "1080p" else int(side)
    clip = sample_clip(repeated, size=pixels)
    drawn = clip.frames.copy()
    options, seed = DRAWN[task]
    for pair in load_task(task, options).pair_generator()(clip, np.random.default_rng(seed), None):
        drawn[pair.index] = pair.conditioning_image
    noise = np.random.default_rng(0).uniform(60, 200, (34, 61, 3)).astype(np.float32)
    background = cv2.resize(noise, (1920, 1080), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    with VideoWriter(path, fps=FPS) as writer:
        for index in range(int(frames)):
            picture = drawn[index % repeated]
            if side == "1080p":
                whole = np.roll(background, 2 * index, axis=1)
                whole[284 : 284 + SIDE, 704 : 704 + SIDE] = picture
                picture = whole
            writer.write(picture)


def analyse(clip: str, target: str) -> None:
    """Write the CPU seconds of the analysis of a clip's faces, without reading it and without loading the models."""
    import time

    import cv2

    from toolkit.faces import create_analyser
    from toolkit.video import read_frames

    cv2.setNumThreads(1)
    analyser, spent = create_analyser("mediapipe", max_faces=4), []
    for frame in read_frames(clip):
        started = time.process_time()
        analyser.analyse(frame.image)
        spent.append(time.process_time() - started)
    analyser.close()
    Path(target).write_text(json.dumps(sum(spent[1:]) / len(spent[1:]) * len(spent)), encoding="utf-8")


def picture(breakdowns: dict[str, dict[str, tuple[float, float]]], path: Path) -> None:
    """Draw the CPU time of each stage as one bar for each edit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.9 + 0.5 * len(breakdowns)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours: dict[str, str] = {}
    for name, stages in breakdowns.items():
        left = 0.0
        for stage, (cpu, _) in stages.items():
            label = None if stage in colours else stage
            colour = colours.setdefault(stage, f"C{len(colours)}")
            axes.barh(name, cpu, left=left, color=colour, label=label)
            left += cpu
    axes.invert_yaxis()
    axes.set_xlabel("CPU time, milliseconds a frame")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(path)


def main() -> int:
    """Run the parts; return 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default=BASELINE, metavar="REV", help="revision to compare with")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=1, help="how often each pair of commands runs")
    parser.add_argument("--picture", type=Path, help="PNG file for a picture of the stages of the parts that list them")
    parser.add_argument("--quick", action="store_true", help="a few frames only: the ratios mean nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, revision(args.against) as old:
        bench = Bench(Path(folder), old, args.rounds, args.quick)
        for part in args.part:
            PARTS[part](bench)
        if args.picture and bench.breakdowns:
            picture(bench.breakdowns, args.picture)
    return int(bench.missed and not args.quick)


if __name__ == "__main__":
    sys.exit(main())
