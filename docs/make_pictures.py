"""Make the pictures of README and docs from the embedded sample clip: `python docs/make_pictures.py`.

The portrait is Eileen Collins' (NASA, public domain), as scikit-image ships it.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.glasses import GlassesOptions, GlassesTask
from tasks.stickers import StickersOptions, StickersTask
from toolkit.testing import tools
from toolkit.testing.sample import sample_clip

FOLDER = Path(__file__).parent / "images"
SIDE = 200


def tile(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None].astype(np.uint8) * 255, 3, axis=-1)
    return np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), Image.LANCZOS))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    clip = sample_clip(frames=80, size=512)
    generate = StickersTask(StickersOptions(size=(0.5, 0.8), degradation=0)).pair_generator()

    pair = list(generate(clip, np.random.default_rng(11), tools()))[12]
    row = [tile(pair.image), tile(pair.conditioning_image), tile(pair.mask)]
    Image.fromarray(np.hstack(row)).save(FOLDER / "pair.jpg", quality=90)

    rows = []
    for seed in (2, 5, 8):
        pairs = list(generate(clip, np.random.default_rng(seed), tools()))
        rows.append(np.hstack([tile(pairs[k].conditioning_image) for k in (0, 16, 32, 48, 64)]))
    Image.fromarray(np.vstack(rows)).save(FOLDER / "stickers.jpg", quality=88)

    generate = GlassesTask(GlassesOptions(pairs="render", sunglasses=0)).pair_generator()
    few = clip.select(np.arange(0, 64, 16))
    made = {seed: list(generate(few, np.random.default_rng(seed), tools())) for seed in (0, 3, 4, 5)}
    pair = made[0][0]
    row = [tile(pair.image), tile(pair.conditioning_image), tile(pair.mask)]
    Image.fromarray(np.hstack(row)).save(FOLDER / "glasses.jpg", quality=90)
    rows = [np.hstack([tile(pair.conditioning_image) for pair in pairs]) for pairs in made.values()]
    Image.fromarray(np.vstack(rows)).save(FOLDER / "glasses-turning.jpg", quality=88)


if __name__ == "__main__":
    main()
