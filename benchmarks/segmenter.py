"""Measure the accuracy and the speed of the embedded segmenter.

    python -m benchmarks.segmenter [--portraits FILE ...] [--bare VIDEO ...] [--worn VIDEO ...] [--sheet PNG]

Prints three figures and their limits, and exits with 1 if one is missed: the overlap with glasses rendered on synthetic
people from --portraits (by default the embedded sample portrait; the segmenter was trained on neither), the share of
frames of --bare videos (people without glasses) that get a mask, and frames per second for clips of 512x512 pixels.
--worn videos have no figure: --sheet writes their masks for inspection.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LIMITS = {"iou": 0.75, "false alarm": 0.01, "frames/s": 60.0}
EVERY = 3
"""Only every third clip of a bare video is tested."""


def clips(videos: list[Path]) -> Iterator[tuple[Path, object]]:
    """The face clips of videos, as in a build."""
    from toolkit.errors import InputError
    from toolkit.faces import create_analyser
    from toolkit.synthesis.config import BuildConfig
    from toolkit.synthesis.plan import make_plan
    from toolkit.synthesis.reader import ReadCounts, read_clips

    config = BuildConfig(task="glasses", videos=videos, output=Path("unused"), resolution=512).resolved()
    analyser = create_analyser("mediapipe", max_faces=1)
    for segment in make_plan(config).segments:
        try:
            for tracked in read_clips(segment, analyser, config, ReadCounts()):
                yield segment.source.path, tracked.clip
        except InputError as error:
            print(f"skipped: {error}")
    analyser.close()


def overlap(portraits: list[Path], count: int = 60) -> float:
    """Mean IoU of frame or lens for drawn glasses on synthetic people, after the camera, in the pixels of the clip."""
    import cv2
    from skimage.data import astronaut

    from attributes.glasses.design import random_design
    from attributes.glasses.drawing import GlassesDrawer
    from attributes.glasses.segmenter import GlassesSegmenter
    from toolkit.portraits import SyntheticPeople, load_portraits
    from toolkit.task import FaceClip

    segmenter, drawer = GlassesSegmenter.load(device="cpu"), GlassesDrawer()
    with tempfile.TemporaryDirectory() as folder:
        if not portraits:
            portraits = [Path(folder, "sample.png")]
            cv2.imwrite(str(portraits[0]), cv2.resize(astronaut()[:300, 80:380], (600, 600))[..., ::-1])
        people = SyntheticPeople(load_portraits(portraits))
    found = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        clip, camera = people.scene(rng, 1, 320)
        drawn = drawer.draw(clip, random_design(rng), rng)
        maps = segmenter.segment(FaceClip(camera(drawn.frames), clip.landmarks, clip.topology, clip.times))
        guess, truth = np.maximum(maps.frame, maps.lens) > 0.5, np.maximum(drawn.rim, drawn.lens) > 0.5
        if truth.any():
            found.append((guess & truth).sum() / (guess | truth).sum())
    return float(np.mean(found))


def false_alarm(videos: list[Path]) -> tuple[float, int]:
    """Share of frames of people without glasses that get a mask, and the number of frames."""
    from attributes.glasses.masker import EmbeddedMasker

    masker, wrong, seen, number = EmbeddedMasker(), 0, 0, {}
    for path, clip in clips(videos):
        number[path] = number.get(path, -1) + 1
        if number[path] % EVERY == 0:
            masks = masker(clip).any(axis=(1, 2))
            wrong, seen = wrong + int(masks.sum()), seen + len(clip)
            if masks.any():
                print(f"false alarm: {path.name}, frames {clip.start_frame} to {clip.start_frame + len(clip) - 1}")
    return wrong / max(seen, 1), seen


def speed(rounds: int = 3) -> float:
    """Frames per second of `EmbeddedMasker.observe` on a clip of 40 frames of 512x512, best of several rounds."""
    from attributes.glasses.example import face_with_glasses
    from attributes.glasses.masker import EmbeddedMasker
    from toolkit.task import FaceClip
    from toolkit.testing.sample import sample_clip

    bare, worn, masker = sample_clip(40, 512), face_with_glasses(), EmbeddedMasker()
    frames = np.repeat(np.repeat(worn.frames, 2, axis=1), 2, axis=2)
    index = np.arange(40) % len(frames)
    clip = FaceClip(frames[index], worn.landmarks[index] * 2, bare.topology, bare.times)
    masker.observe(clip)
    best = min(_timed(masker.observe, clip) for _ in range(rounds))
    return len(clip) / best


def _timed(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def sheet(videos: list[Path], path: Path, columns: int = 8) -> None:
    """Write masks over evenly spaced frames, with a row per clip, for two clips of each video."""
    import cv2

    from attributes.glasses.masker import EmbeddedMasker

    masker, rows, number = EmbeddedMasker(), [], {}
    for video, clip in clips(videos):
        number[video] = number.get(video, -1) + 1
        if number[video] % 4 or number[video] > 4:
            continue
        found = masker.observe(clip)
        print(f"{video.name} {clip.start_frame}: masked {found.mask.any(axis=(1, 2)).mean():.2f} of frames, "
              f"eyes visible {np.median(found.eye_visibility):.2f}")  # fmt: skip
        tiles = []
        for t in np.linspace(0, len(clip) - 1, columns).astype(int):
            tile = clip.frames[t].copy()
            edge = found.mask[t] ^ (cv2.erode(found.mask[t].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
            tile[found.mask[t]] = (0.65 * tile[found.mask[t]] + 0.35 * np.array([255, 40, 40])).astype(np.uint8)
            tile[edge] = (255, 255, 0)
            tiles.append(cv2.resize(tile[96:352, 64:448], (288, 192), interpolation=cv2.INTER_AREA))
        rows.append(np.hstack(tiles))
    if rows:
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("portraits", "bare", "worn"):
        parser.add_argument(f"--{name}", nargs="*", type=Path, default=[], metavar="PATH")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    if args.worn and args.sheet:
        sheet(args.worn, args.sheet)
    values = {"iou": overlap(args.portraits), "frames/s": speed()}
    if args.bare:
        values["false alarm"], seen = false_alarm(args.bare)
        print(f"{seen} frames without glasses")
    good = {
        name: value <= LIMITS[name] if name == "false alarm" else value >= LIMITS[name]
        for name, value in values.items()
    }
    for name, value in values.items():
        bound = "at most" if name == "false alarm" else "at least"
        print(f"{name:12} {value:8.3f}   asked: {bound} {LIMITS[name]:g}   {'ok' if good[name] else 'MISSED'}")
    return 0 if all(good.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
