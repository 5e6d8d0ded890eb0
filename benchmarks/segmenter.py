"""Measure the accuracy and the speed of the embedded segmenter, and of other weights beside it.

    python -m benchmarks.segmenter [--portraits PATH ...] [--bare VIDEO ...] [--worn VIDEO ...] [--weights FILE ...]
        [--count N] [--sheet PNG]

For each file of weights, the embedded ones first, it prints for each folder of --portraits (by default the embedded
sample portrait; the segmenter was trained on none of them):

- the overlap (IoU) with frame or lens of rendered glasses,
- the recall of thin rims: the share of the pixels of rims thinner than two pixels of the region that are in the opaque
  parts of the masks, and what area those parts have, divided by that of all true rims,
- the share of bare pictures that get a mask: the portraits as they are, and rendered people with decoys.

--bare videos (people without glasses) add the share of their frames that get a mask. It exits with 1 if the embedded
weights miss a limit. --sheet writes masks of --worn videos for inspection, a row of each clip for each file of weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from toolkit.portraits.portrait import Portrait

LIMITS = {"iou": 0.75, "thin rims": 0.9, "false alarms": 0.01, "frames/s": 60.0}
"""Least value, or the greatest of false alarms."""
EVERY = 3
"""Only every third clip of a bare video is tested."""
SIZE, PHOTOS = 512, 0.5
"""Side of the rendered pictures, and share of those that show a portrait as it is."""


class Tested:
    """A masker with some weights; None are the embedded ones."""

    def __init__(self, weights: Path | None):
        from attributes.glasses.masker import EmbeddedMasker
        from attributes.glasses.segmenter import GlassesSegmenter

        self.name = weights.name if weights else "embedded"
        self.masker = EmbeddedMasker(GlassesSegmenter.load(weights, device="cpu"))
        self.values: dict[str, list[float]] = {}

    def note(self, **values: float) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(float(value))


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


def sample_portrait(folder: Path) -> list[Path]:
    """The embedded portrait, as a file."""
    import cv2
    from skimage.data import astronaut

    file = folder / "sample.png"
    cv2.imwrite(str(file), cv2.resize(astronaut()[:300, 80:380], (600, 600))[..., ::-1])
    return [file]


def drawn(portraits: list[Portrait], count: int, tested: Sequence[Tested]) -> None:
    """Glasses drawn on synthetic people, after the camera."""
    import torch

    from attributes.glasses.drawing import GlassesDrawer
    from attributes.glasses.segmenter.losses import thin_rims
    from attributes.glasses.segmenter.region import cut_out, eye_regions
    from attributes.glasses.segmenter.samples import sample_design
    from toolkit.portraits import SyntheticPeople

    drawer, people = GlassesDrawer(), SyntheticPeople(portraits, photos=PHOTOS)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        clip, camera = people.scene(rng, 1, SIZE)
        worn = drawer.draw(clip, sample_design(rng, 0.1, 0.3), rng)
        whole = np.maximum(worn.rim, worn.lens)[0] > 0.5
        if not whole.any():
            continue
        to_region = eye_regions(clip.landmarks, clip.topology).to_region[0]
        rim = torch.from_numpy(cut_out(worn.rim[0][..., None], to_region))[None, None]
        thin = (thin_rims(rim) > 0.25).numpy()[0, 0]
        seen = replace(clip, frames=camera(worn.frames))
        for one in tested:
            found = one.masker.observe(seen)
            guess = np.maximum(found.maps.frame, found.maps.lens)[0] > 0.5
            opaque = cut_out(found.opaque[0].astype(np.float32)[..., None], to_region) > 0.5
            one.note(iou=(guess & whole).sum() / (guess | whole).sum(), presence=found.presence)
            one.note(area=opaque.sum() / max(float((rim > 0.25).sum()), 1))
            if thin.sum() > 20:
                one.note(**{"thin rims": opaque[thin].mean()})


def bare(portraits: list[Portrait], count: int, tested: Sequence[Tested]) -> None:
    """False alarms on portraits as they are, and on synthetic people with what resembles glasses."""
    from attributes.glasses.segmenter.decoys import add_decoys
    from toolkit.portraits import SyntheticPeople

    for portrait in portraits:
        clip, _ = SyntheticPeople([portrait], photos=1.0).scene(np.random.default_rng(0), 1, SIZE)
        for one in tested:
            one.note(**{"false alarms, photos": one.masker(clip).any()})
    people = SyntheticPeople(portraits, photos=PHOTOS)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        clip, camera = people.scene(rng, 1, SIZE)
        clip = replace(clip, frames=camera(add_decoys(clip, rng)))
        for one in tested:
            one.note(**{"false alarms, decoys": one.masker(clip).any()})


def false_alarms(videos: list[Path], tested: Sequence[Tested]) -> None:
    """Frames of people without glasses that get a mask."""
    number: dict[Path, int] = {}
    for path, clip in clips(videos):
        number[path] = number.get(path, -1) + 1
        if number[path] % EVERY == 0:
            for one in tested:
                masks = one.masker(clip).any(axis=(1, 2))
                for mask in masks:
                    one.note(**{"false alarms": mask})
                if masks.any():
                    stop = clip.start_frame + len(clip) - 1
                    print(f"false alarm of {one.name}: {path.name}, frames {clip.start_frame} to {stop}")


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


def sheet(videos: list[Path], path: Path, tested: Sequence[Tested], columns: int = 6) -> None:
    """Write masks (yellow) and opaque parts (green) over evenly spaced frames, for two clips of each video."""
    import cv2

    rows, number = [], {}
    for video, clip in clips(videos):
        number[video] = number.get(video, -1) + 1
        if number[video] % 4 or number[video] > 4:
            continue
        for one in tested:
            found = one.masker.observe(clip)
            print(f"{one.name}, {video.name} {clip.start_frame}: masked {found.mask.any(axis=(1, 2)).mean():.2f} of "
                  f"frames, eyes visible {np.median(found.eye_visibility):.2f}")  # fmt: skip
            tiles = []
            for t in np.linspace(0, len(clip) - 1, columns).astype(int):
                tile = clip.frames[t].copy()
                for mask, colour in ((found.mask[t], (255, 255, 0)), (found.opaque[t], (0, 255, 0))):
                    tile[mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)] = colour
                tiles.append(tile[120:330, 90:422])
            rows.append(np.hstack(tiles))
    if rows:
        cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> int:
    from toolkit.portraits import list_portraits, load_portraits

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("portraits", "bare", "worn", "weights"):
        parser.add_argument(f"--{name}", nargs="*", type=Path, default=[], metavar="PATH")
    parser.add_argument("--manifest", type=Path, help="list of the portraits to take from folders")
    parser.add_argument("--only", help="text that their column 'use' must hold")
    parser.add_argument("--cache", type=Path, help="folder for analysed portraits")
    parser.add_argument("--count", type=int, default=60, help="rendered pictures for each folder")
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    weights = [None, *args.weights]
    if args.worn and args.sheet:
        sheet(args.worn, args.sheet, [Tested(file) for file in weights])
    groups: dict[str, list[Path]] = {}
    for path in args.portraits:
        files = list_portraits(path, args.manifest, args.only) if path.is_dir() else [path]
        groups.setdefault(path.name if path.is_dir() else path.parent.name, []).extend(files)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        groups = groups or {"sample": sample_portrait(Path(folder))}
        for name, files in groups.items():
            tested, portraits = [Tested(file) for file in weights], load_portraits(files, args.cache)
            drawn(portraits, args.count, tested)
            bare(portraits, args.count, tested)
            good &= report(name, tested)
    if args.bare:
        tested = [Tested(file) for file in weights]
        false_alarms(args.bare, tested)
        good &= report(f"{len(args.bare)} videos", tested)
    embedded = Tested(None)
    embedded.note(**{"frames/s": speed()})
    return 0 if report("512x512", [embedded]) and good else 1


def report(group: str, tested: Sequence[Tested]) -> bool:
    """Print the figures of one group; whether the embedded weights keep the limits."""
    good = True
    for name in tested[0].values:
        limit = LIMITS.get(name)
        line = f"{group:12} {name:22}"
        for one in tested:
            line += f" {np.mean(one.values[name]):8.4f} ({one.name})"
        if limit is not None:
            value = np.mean(tested[0].values[name])
            kept = value <= limit if name == "false alarms" else value >= limit
            good &= bool(kept)
            bound = "at most" if name == "false alarms" else "at least"
            line += f"   asked: {bound} {limit:g}   {'ok' if kept else 'MISSED'}"
        print(line, flush=True)
    return good


if __name__ == "__main__":
    raise SystemExit(main())
