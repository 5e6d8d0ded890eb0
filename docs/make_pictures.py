"""Make the pictures of README and docs.

``python docs/make_pictures.py`` uses the embedded sample clip, a portrait of Eileen Collins (NASA, public domain) that
scikit-image ships. ``python docs/make_pictures.py --portraits A.jpg B.jpg`` makes README's before/after picture from
portraits of people who wear glasses; the shipped one shows CC0 pictures of people who do not exist.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tasks.glasses import GlassesTask
from tasks.stickers import StickersTask
from toolkit.cli import main as toolkit
from toolkit.testing import tools
from toolkit.testing.sample import sample_clip
from toolkit.video import VideoWriter, read_frames

FOLDER = Path(__file__).parent / "images"
SIDE, FACE_SIDE = 200, 380


def tile(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Resize a picture, or draw a mask, as a square of `side` pixels; uint8 ``[side, side, 3]``."""
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None].astype(np.uint8) * 255, 3, axis=-1)
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def from_the_sample() -> None:
    """Draw stickers and glasses on the embedded sample clip."""
    clip = sample_clip(frames=80, size=512)
    stickers = StickersTask.Options(size=(0.5, 0.8), degradation=0)
    generate = StickersTask(stickers).pair_generator()

    pair = list(generate(clip, np.random.default_rng(11), tools()))[12]
    save([[tile(pair.image), tile(pair.conditioning_image), tile(pair.mask)]], "pair.jpg")
    rows = []
    for seed in (2, 5, 8):
        pairs = list(generate(clip, np.random.default_rng(seed), tools()))
        rows.append([tile(pairs[k].conditioning_image) for k in (0, 16, 32, 48, 64)])
    save(rows, "stickers.jpg")

    generate = GlassesTask(GlassesTask.Options(pairs="render", sunglasses=0)).pair_generator()
    few = clip.select(np.arange(0, 64, 16))
    drawn = {seed: list(generate(few, np.random.default_rng(seed), tools())) for seed in (0, 3, 4, 5)}
    pair = drawn[0][0]
    save([[tile(pair.image), tile(pair.conditioning_image), tile(pair.mask)]], "glasses.jpg")
    save([[tile(pair.conditioning_image) for pair in pairs] for pairs in drawn.values()], "glasses-turning.jpg")


def before_and_after(portraits: list[Path]) -> None:
    """Edit portraits as one-frame videos with ``toolkit edit --task glasses`` and show the faces."""
    row = []
    with tempfile.TemporaryDirectory() as folder:
        for portrait in portraits:
            source, edited = Path(folder, f"{portrait.stem}.mkv"), Path(folder, f"{portrait.stem}.edited.mkv")
            with VideoWriter(source, fps=25, lossless=True) as writer:
                writer.write(np.asarray(Image.open(portrait).convert("RGB")))
            if toolkit(["edit", str(source), str(edited), "--task", "glasses", "--lossless"]):
                raise SystemExit(f"no glasses were removed from {portrait}")
            report = json.loads(Path(f"{edited}.json").read_text(encoding="utf-8"))
            x0, y0, x1, y1 = report["frames"][0]["faces"][0]["box"]
            reach = 0.8 * max(x1 - x0, y1 - y0)
            x, y = (x0 + x1) / 2, (y0 + y1) / 2 - 0.1 * reach
            left, top, right, bottom = (round(edge) for edge in (x - reach, y - reach, x + reach, y + reach))
            for video in (source, edited):
                picture = next(iter(read_frames(video))).image
                row.append(tile(picture[max(0, top) : bottom, max(0, left) : right], FACE_SIDE))
    save([row], "before-after.jpg")


def save(rows: list[list[np.ndarray]], name: str) -> None:
    """Write rows of tiles as one JPEG."""
    FOLDER.mkdir(exist_ok=True)
    Image.fromarray(np.vstack([np.hstack(row) for row in rows])).save(FOLDER / name, quality=89)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portraits", type=Path, nargs="+", help="portraits of people who wear glasses")
    portraits = parser.parse_args().portraits
    before_and_after(portraits) if portraits else from_the_sample()
