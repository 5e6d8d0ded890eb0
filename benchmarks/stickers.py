"""Measure the cost of a stickers build relative to the face analysis that it needs.

    python -m benchmarks.stickers [--videos FILE ...] [--only cost render speedup memory]

Prints four ratios and their limits, and exits with 1 if one is missed. Run it on an idle machine. By default it uses
the embedded sample clip.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMITS = {"cost": 3.5, "render": 0.25, "speedup": 3.0, "memory": 1.2}
SINGLE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def child(function: str, *arguments: object) -> dict:
    """Run a function of this module in a new, single-threaded process like a worker, and return its result."""
    names = [str(argument) for argument in arguments]
    code = f"import json, benchmarks.stickers as b; print(chr(10) + json.dumps(b.{function}(*{names!r})))"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **SINGLE}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def analyse(*videos: str) -> dict:
    """CPU seconds of the face analysis, without the decoding of frames."""
    import cv2

    from toolkit.faces import create_analyser
    from toolkit.video import read_frames

    cv2.setNumThreads(1)
    spent, frames = 0.0, 0
    for video in videos:
        analyser = create_analyser("mediapipe", max_faces=4)
        for frame in read_frames(video):
            start = time.process_time()
            analyser.analyse(frame.image)
            if frames:  # the first frame also loads the model
                spent += time.process_time() - start
            frames += 1
        analyser.close()
    return {"cpu": spent, "frames": frames}


def render(*videos: str) -> dict:
    """CPU seconds of the analysis and of drawing one sticker, on the same 512-pixel frames."""
    import cv2
    import numpy as np

    from attributes.rendering.landmark_mesh import LandmarkMesher
    from attributes.rendering.renderer import EmbreeRenderer
    from attributes.stickers.art import open_art
    from attributes.stickers.drawing import Texture, draw
    from attributes.stickers.spots import GRID, Chart
    from toolkit.faces import create_analyser
    from toolkit.task import FaceClip
    from toolkit.video import read_frames

    cv2.setNumThreads(1)
    art, renderer, mesher = open_art(None), EmbreeRenderer(), LandmarkMesher()
    analysing = drawing = 0.0
    frames, warm = 0, False
    for k, video in enumerate(videos):
        analyser = create_analyser("mediapipe", max_faces=4)
        costs, pictures, landmarks = [], [], []
        for frame in read_frames(video, stop=240):
            picture = cv2.resize(frame.image, (512, 512), interpolation=cv2.INTER_AREA)
            start = time.process_time()
            faces = analyser.analyse(picture)
            costs.append(time.process_time() - start)
            if len(faces) == 0:
                costs.pop()
                continue
            pictures.append(picture)
            landmarks.append(faces[0].landmarks)
        for first in range(0, len(pictures) - 39, 40):
            part = slice(first, first + 40)
            clip = FaceClip(np.stack(pictures[part]), np.stack(landmarks[part]), analyser.topology, np.arange(40) / 25)
            rng = np.random.default_rng([k, first])
            sticker = art.choose(rng)
            texture = Texture.of(sticker.rgba, sticker.kind, sticker.gloss, 1.0)
            chart = Chart(mesher.mesh(clip), ("eyes", "mouth"))
            spot = chart.random(rng, (0.3, 0.75), (-45, 45), texture.footprint(GRID))
            if spot is None:
                continue
            start = time.process_time()
            mesh = mesher.mesh(clip)
            for _ in draw(clip.frames, mesh, spot, texture, renderer, 1.0):
                pass
            spent = time.process_time() - start
            if warm:  # the first clip loads libraries and models and is not counted
                drawing += spent
                analysing += sum(costs[part])
                frames += 40
            warm = True
        analyser.close()
    if not frames:
        raise SystemExit("render: fewer than two clips of 40 frames with a face; use longer videos")
    return {"analysis": analysing, "drawing": drawing, "frames": frames}


def build(videos: list[Path], output: Path, workers: int) -> dict:
    """Build in a new process; return wall and CPU seconds, and the memory of the largest process in bytes."""
    import resource

    command = [sys.executable, "-m", "toolkit", "build-dataset", "--task", "stickers", "--workers", str(workers)]
    command += ["--output", str(output), "--videos", *map(str, videos)]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": time.perf_counter() - start,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "rss": after.ru_maxrss * 1024,
    }


def measure_build(video: str, output: str) -> dict:
    """Run `build` with one worker as a child of this process, so that the peak memory belongs to that build."""
    return build([Path(video)], Path(output), 1)


def samples(folder: Path, lengths: list[int], size: int) -> list[Path]:
    from toolkit.testing.sample import write_sample_video

    # The lengths differ, because two files with the same bytes count as one source.
    return [write_sample_video(folder / f"sample{k}.mp4", frames=n, size=size) for k, n in enumerate(lengths)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", nargs="+", type=Path, help="videos for cost and render, instead of the sample clip")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS))
    args = parser.parse_args()
    missed = False

    def show(name: str, value: float, at_least: bool, note: str) -> None:
        nonlocal missed
        good = value >= LIMITS[name] if at_least else value <= LIMITS[name]
        missed |= not good
        sign = ">=" if at_least else "<="
        print(f"{name:8} {value:6.2f}  (asked {sign} {LIMITS[name]})  {'ok' if good else 'MISSED'}  {note}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = args.videos or samples(folder, [1000, 1001], 512)
        if "cost" in args.only:
            analysis = child("analyse", *videos)
            whole = build(videos, folder / "cost", 1)
            note = f"CPU of the build / CPU of the face analysis, {analysis['frames']} frames"
            show("cost", whole["cpu"] / analysis["cpu"], False, note)
        if "render" in args.only:
            drawn = child("render", *videos)
            note = f"CPU of drawing / CPU of the face analysis, {drawn['frames']} frames of 512x512"
            show("render", drawn["drawing"] / drawn["analysis"], False, note)
        if "speedup" in args.only:
            many = samples(folder, [700 + k for k in range(8)], 512)
            one = build(many, folder / "one", 1)
            four = build(many, folder / "four", 4)
            show("speedup", one["wall"] / four["wall"], True, f"wall of 1 worker / 4 workers, {os.cpu_count()} cores")
        if "memory" in args.only:
            short, long = samples(folder, [500, 5000], 256)
            peaks = [child("measure_build", v, folder / f"m{k}")["rss"] for k, v in enumerate((short, long))]
            note = f"peak memory of 5000 frames / 500 frames; {peaks[0] / 2**20:.0f} MiB for 500"
            show("memory", peaks[1] / peaks[0], False, note)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
