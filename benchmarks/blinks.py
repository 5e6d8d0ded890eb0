"""Measures what inpainted pairs of glasses keep of the eyes, by how open they are.

    python -m benchmarks.blinks VIDEO [--frames 36:50] [--resolution 256 512] [--sheet FOLDER]

Eyes are holes in the masks of glasses. Each row is one way to make the pairs: ``in pixels``, the soft edge of the
composite lies inside the mask around the holes, or grows into them; ``in latents``, blending keeps the holes, or the
widened latent masks close them. The figures are the mean absolute difference of the pair's picture to the frame
inside the holes, in 0..255, for open, half-open and closed eyes. ``model`` is the same for the model's picture before
it is composited, which tells how well what is made fits what is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attributes.glasses.eyes import BOTH
from attributes.glasses.masker import EmbeddedMasker
from tasks.glasses import GlassesTask
from toolkit.faces.config import build_analyser
from toolkit.synthesis.compositing import composited
from toolkit.synthesis.config import BuildConfig, ResolvedBuild
from toolkit.synthesis.inpainter import BackboneInpainter
from toolkit.synthesis.plan import make_plan
from toolkit.synthesis.reader import ReadCounts, read_clips
from toolkit.task import FaceClip

CLOSED, OPEN = 0.06, 0.12
"""Openness below which an eye is closed, and from which it is open. That of eyes looking ahead is about 0.2."""


def openness(clip: FaceClip) -> np.ndarray:
    """Area inside the landmarks of an eye, divided by its squared width; mean of both eyes, float ``[T]``."""
    both = []
    for eye in BOTH:
        points = clip.landmarks[:, clip.topology.regions[eye], :2]
        x, y = points[..., 0], points[..., 1]
        area = np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1)) / 2
        width = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).max(axis=(1, 2))
        both.append(area / width**2)
    return np.mean(both, axis=0)


def difference(pictures: np.ndarray, frames: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean absolute difference in 0..255 per frame, float ``[T]``; NaN where nothing is chosen."""
    apart = np.abs(pictures.astype(np.float32) - frames).mean(axis=-1)
    return np.array([values[chosen].mean() if chosen.any() else np.nan for values, chosen in zip(apart, where)])


def clips(config: ResolvedBuild, frames: tuple[int, int] | None) -> Iterator[FaceClip]:
    """The clips of the videos, or of some frames of each."""
    analyser = build_analyser(config.faces, config.device)
    segments = make_plan(config, print).segments
    if frames is not None:
        first = {segment.source.digest: segment for segment in reversed(segments)}
        segments = [replace(segment, start=frames[0], stop=frames[1]) for segment in first.values()]
    for segment in segments:
        for tracked in read_clips(segment, analyser, config, ReadCounts()):
            yield tracked.clip


def rows(videos: Sequence[Path], side: int, frames: tuple[int, int] | None, sheet: Path | None) -> Iterator[list[str]]:
    """Rows of the table for pictures of `side` pixels."""
    build = BuildConfig(task="glasses", videos=list(videos), output=Path("unused"), resolution=side, device="cpu")
    config = build.resolved(inpaints=True)
    assert config.inpainter is not None
    inpainters = {
        way: BackboneInpainter(config.inpainter.model_copy(update={"keep_in_latents": way}), config.device)
        for way in (False, True)
    }
    masker = EmbeddedMasker()
    texts = {"prompt": GlassesTask.prompt, "negative_prompt": GlassesTask.negative_prompt}
    found: dict[tuple[bool, bool], list[np.ndarray]] = {}
    for number, clip in enumerate(clips(config, frames)):
        seen = masker.observe(clip)
        shown = seen.mask.any(axis=(1, 2)) & seen.holes.any(axis=(1, 2))
        open_ = openness(clip)[shown]
        made = {}
        for latents, inpainter in inpainters.items():
            outputs = inpainter.generate(clip.frames, seen.mask, seed=0, keep=seen.holes, **texts)
            model = difference(outputs, clip.frames, seen.holes)[shown]
            for pixels in (False, True):
                pair = composited(clip.frames, outputs, seen.mask, seen.holes if pixels else None)
                made[pixels, latents] = pair.frames
                inside = difference(pair.frames, clip.frames, seen.holes)[shown]
                found.setdefault((pixels, latents), []).append(np.stack([open_, inside, model]))
        if sheet is not None:
            np.savez_compressed(
                sheet / f"{side}-{number}.npz",
                frames=clip.frames,
                masks=seen.mask,
                holes=seen.holes,
                openness=openness(clip),
                **{f"pixels{int(pixels)}_latents{int(latents)}": value for (pixels, latents), value in made.items()},
            )
    for (pixels, latents), values in sorted(found.items()):
        open_, inside, model = np.concatenate(values, axis=1)
        kinds = (open_ >= OPEN, (open_ < OPEN) & (open_ >= CLOSED), open_ < CLOSED)
        cells = [f"{inside[kind].mean():.1f} ({int(kind.sum())})" if kind.any() else "-" for kind in kinds]
        closed = kinds[-1]
        cells.append(f"{model[closed].mean():.1f}" if closed.any() else "-")
        yield [str(side), "yes" if pixels else "no", "yes" if latents else "no", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--resolution", nargs="+", type=int, default=[256, 512])
    parser.add_argument("--frames", help="first frame and the one after the last, as START:STOP")
    parser.add_argument("--sheet", type=Path, help="folder for the pictures, as .npz")
    args = parser.parse_args()
    frames = None
    if args.frames is not None:
        start, stop = args.frames.split(":")
        frames = int(start), int(stop)
    print("| side | in pixels | in latents | open (frames) | half open | closed | model, closed |")
    print("|---|---|---|---|---|---|---|")
    for side in args.resolution:
        for row in rows(args.videos, side, frames, args.sheet):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
