"""Measures the speed of `evaluate` against a plain loop over the same networks, and its memory on long videos.

    python -m benchmarks.evaluate [--arcface MODEL] [--frames N]

Prints each ratio with its limit and exits with 1 if a limit is missed. Both sides run in one worker process of the
toolkit with one thread, and both pay for starting it: `evaluate` includes tracking, tables and the report, the loop
only the calls. Identity is measured with --arcface, or if `toolkit evaluate` finds a model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LIMITS = {"speed": 0.9, "memory": 1.1}
SIDE = 512
WIDTH, HEIGHT = 320, 240
"""px; size of the videos whose memory is measured."""

SHORT, LONG = 60, 600


@dataclass(frozen=True)
class Loop:
    """Input of the plain loop."""

    original: Path
    edited: Path
    arcface: Path | None


def plain_loop(job: Loop) -> dict[str, float]:
    """Compute dG, identity and warp error frame by frame, as a script for a paper would."""
    from attributes.glasses.fidelity import RemovedGlasses
    from toolkit.evaluate.arcface import ArcFace
    from toolkit.evaluate.flow import choose_flow
    from toolkit.evaluate.identity import align, five_points
    from toolkit.evaluate.warp_error import frame_error
    from toolkit.faces import create_analyser
    from toolkit.task import FaceClip
    from toolkit.video import read_frames

    analyser, removed, flow = create_analyser(), RemovedGlasses(), choose_flow()
    embedder = None if job.arcface is None else ArcFace(job.arcface)
    found: dict[str, list[float]] = {"glasses_removed": [], "identity": [], "warp_error": []}
    before = None
    for frame, edit in zip(read_frames(job.original), read_frames(job.edited)):
        original, edited = frame.image[None], edit.image[None]
        faces = analyser.analyse(frame.image)
        if faces:
            landmarks = faces[0].landmarks
            clips = [FaceClip(frames, landmarks[None], analyser.topology, np.zeros(1)) for frames in (original, edited)]
            found["glasses_removed"].append(float(removed(*clips)[0]))
            if embedder is not None:
                points = five_points(landmarks, analyser.topology)
                one, other = (embedder.embed(align(frames[0], points)[None])[0] for frames in (original, edited))
                found["identity"].append(float(one @ other))
        if before is not None:
            forward, backward = flow(before[0], original)[0], flow(original, before[0])[0]
            found["warp_error"].append(frame_error(before[1][0], edited[0], forward, backward))
        before = original, edited
    analyser.close()
    return {name: float(np.mean(values)) for name, values in found.items() if values}


def speed(arcface: Path | None, frames: int, rounds: int = 2) -> bool:
    """Print the time of the loop / of `evaluate`, medians of alternating rounds; returns whether it is missed."""
    from toolkit.evaluate.arcface import find_arcface
    from toolkit.evaluate.config import EvaluateConfig
    from toolkit.evaluate.evaluation import evaluate
    from toolkit.executor import ProcessExecutor
    from toolkit.testing.sample import write_sample_video

    times: dict[str, list[float]] = {"loop": [], "evaluate": []}
    embedder = find_arcface(arcface)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        original = write_sample_video(folder / "original.mp4", frames, size=SIDE)
        edited = covered(original, folder / "edited.mp4")
        config = EvaluateConfig(
            original=original,
            edited=[f"covered={edited}"],
            task="glasses",
            output=folder / "report",
            arcface=embedder,
            identity=embedder is not None,
            clips=False,
        )
        for _ in range(rounds):
            begun = time.perf_counter()
            outcome = next(ProcessExecutor(1).run(plain_loop, [Loop(original, edited, embedder)]))
            times["loop"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            report = evaluate(config, executor=ProcessExecutor(1))
            times["evaluate"].append(time.perf_counter() - begun)
            if outcome.error is not None:
                raise outcome.error
            values = report.evaluation.methods[0].videos[0].values
            wrong = {name for name, value in outcome.value.items() if abs(values[name] - value) > 1e-6}
            if wrong:
                raise SystemExit(f"the loop and evaluate differ in {', '.join(sorted(wrong))}")
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    per_frame = " / ".join(f"{1000 * medians[name] / frames:.0f}" for name in ("loop", "evaluate"))
    tools = report.evaluation.tools
    note = f"time of a plain loop / of evaluate ({per_frame} ms a frame), {frames} frames of {SIDE} pixels"
    return show("speed", medians["loop"] / medians["evaluate"], f"{note}; {tools['flow']}, ID: {tools['identity']}")


def covered(source: Path, target: Path) -> Path:
    """Write a copy with a grey patch."""
    from toolkit.video import VideoWriter, read_frames

    with VideoWriter(target, fps=25) as writer:
        for frame in read_frames(source):
            picture = frame.image.copy()
            picture[200:260, 150:260] = 128
            writer.write(picture)
    return target


def peak_of(job: object) -> int:
    """Measure a set in the worker and return its peak memory in bytes."""
    from toolkit.evaluate.measuring import measure_set

    for result in measure_set(job).values():
        if result.failed:
            raise SystemExit(result.failed)
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def memory(arcface: Path | None) -> bool:
    """Print a worker's peak memory for a long video / for a short one; returns whether the limit is missed."""
    from toolkit.evaluate.arcface import find_arcface
    from toolkit.evaluate.config import EvaluateConfig
    from toolkit.evaluate.measuring import Job
    from toolkit.evaluate.pairing import VideoSet
    from toolkit.executor import ProcessExecutor
    from toolkit.registry import load_task
    from toolkit.testing.sample import PERIOD, sample_frames
    from toolkit.video import VideoWriter

    faces = sample_frames(PERIOD, HEIGHT)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (SHORT, LONG):
            path = Path(folder, f"{count}.mp4")
            with VideoWriter(path, fps=25) as writer:
                for index in range(count):
                    writer.write(np.pad(faces[index % PERIOD], ((0, 0), (0, WIDTH - HEIGHT), (0, 0)), "edge"))
            embedder = find_arcface(arcface)
            config = EvaluateConfig(
                original=path,
                edited=[f"same={path}"],
                task="glasses",
                output=Path(folder, "report"),
                target=path,
                arcface=embedder,
                identity=embedder is not None,
            )
            job = Job(VideoSet("video", path, {"same": path}, path), config, load_task("glasses"))
            outcome = next(ProcessExecutor(1).run(peak_of, [job]))
            if outcome.error is not None:
                raise outcome.error
            peaks[count] = outcome.value
    note = " / ".join(f"{peaks[count] / 2**20:.0f}" for count in (LONG, SHORT))
    note = f"peak memory of a worker, {LONG} frames / {SHORT} of {WIDTH}x{HEIGHT} pixels ({note} MiB)"
    return show("memory", peaks[LONG] / peaks[SHORT], note)


def show(name: str, value: float, note: str) -> bool:
    limit = LIMITS[name]
    good = value >= limit if name == "speed" else value <= limit
    sign = ">=" if name == "speed" else "<="
    print(f"{name:6} {value:6.2f}  (asked {sign} {limit})  {'ok' if good else 'MISSED'}  {note}", flush=True)
    return not good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arcface", type=Path, help="ArcFace model (.onnx)")
    parser.add_argument("--frames", type=int, default=100, help="frames of the video for speed")
    args = parser.parse_args()
    missed = speed(args.arcface, args.frames)
    return int(memory(args.arcface) or missed)


if __name__ == "__main__":
    sys.exit(main())
