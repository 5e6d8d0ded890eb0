"""Measure the accuracy and the speed of the embedded segmenter of stickers.

    python -m benchmarks.sticker_segmenter [--portraits FILE ...] [--art FOLDER] [--bare VIDEO ...] [--weights FILE]

Prints the overlap with stickers drawn on synthetic people from --portraits (by default the embedded sample portrait;
training used neither), how many of them are found, the share of the same people without stickers that get a mask, the
share of frames of --bare videos (people without stickers) that get one, and CPU time per frame of 256 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.segmenter import EVERY, clips


def drawn(portraits: list[Path], art: Path | None, weights: Path | None, count: int) -> dict[str, float]:
    """IoU of visible stickers, the share with an IoU of at least 0.3, and false alarms, on regions of single frames."""
    import cv2
    import torch
    from skimage.data import astronaut

    from attributes.stickers.masker import HIGH, LOW, PRESENT
    from attributes.stickers.segmenter import StickerSegmenter
    from attributes.stickers.segmenter.samples import SampleMaker
    from attributes.stickers.segmenter.train import centre_crop

    torch.set_num_threads(1)
    segmenter = StickerSegmenter.load(weights, device="cpu")
    found, alarms = [], []
    with tempfile.TemporaryDirectory() as folder:
        if not portraits:
            portraits = [Path(folder, "sample.png")]
            cv2.imwrite(str(portraits[0]), cv2.resize(astronaut()[:300, 80:380], (600, 600))[..., ::-1])
        maker = SampleMaker(portraits, Path(folder, "cache"), 0.4, 0.75, 320, "benchmark", art)
        for index in range(count):
            picture, maps, shown = maker.make(index)
            soft, presence = segmenter.infer(np.ascontiguousarray(centre_crop(picture))[None])
            guess, truth = (soft[0] > LOW) & (presence[0] > PRESENT), centre_crop(maps)[..., 0] > 127
            if shown:
                found.append((guess & truth).sum() / max((guess | truth).sum(), 1))
            else:
                alarms.append(bool((soft[0] > HIGH).any() and presence[0] > PRESENT))
    overlaps = np.array(found)
    return {"IoU": overlaps.mean(), "found": (overlaps >= 0.3).mean(), "false alarm": float(np.mean(alarms))}


def false_alarm(videos: list[Path], weights: Path | None) -> tuple[float, int]:
    """Share of frames of people without stickers that get a mask, and the number of frames."""
    from attributes.stickers.masker import StickerMasker
    from attributes.stickers.options import StickersOptions
    from attributes.stickers.segmenter import StickerSegmenter

    masker = StickerMasker(StickersOptions(), StickerSegmenter.load(weights, device="cpu"))
    wrong, seen, number = 0, 0, {}
    for path, clip in clips(videos):
        number[path] = number.get(path, -1) + 1
        if number[path] % EVERY == 0:
            masks = masker(clip).any(axis=(1, 2))
            wrong, seen = wrong + int(masks.sum()), seen + len(clip)
            if masks.any():
                print(f"false alarm: {path.name}, {masks.sum()} of {len(clip)} frames from {clip.start_frame}")
    return wrong / max(seen, 1), seen


def milliseconds(weights: Path | None) -> float:
    """CPU time of the masker per frame of 256x256 pixels, in one thread, best of three."""
    from attributes.stickers.masker import StickerMasker
    from attributes.stickers.options import StickersOptions
    from attributes.stickers.segmenter import StickerSegmenter
    from toolkit.testing.sample import sample_clip

    masker, clip = StickerMasker(StickersOptions(), StickerSegmenter.load(weights, device="cpu")), sample_clip(32, 256)
    spent = []
    for _ in range(3):
        started = time.process_time()
        masker(replace(clip))
        spent.append(time.process_time() - started)
    return 1000 * min(spent) / len(clip)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", nargs="*", type=Path, default=[])
    parser.add_argument("--art", type=Path)
    parser.add_argument("--bare", nargs="*", type=Path, default=[])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=60)
    words = parser.parse_args()
    for name, value in drawn(words.portraits, words.art, words.weights, words.count).items():
        print(f"{name}: {value:.3f}")
    if words.bare:
        share, seen = false_alarm(words.bare, words.weights)
        print(f"frames of bare videos with a mask: {100 * share:.2f} % of {seen}")
    print(f"{milliseconds(words.weights):.1f} ms a frame")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
