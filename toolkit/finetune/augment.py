"""Augments pairs consistently: all frames of a clip get the same crop, flip and colours."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from toolkit.filling import closed, disc, filled
from toolkit.finetune.config import AugmentationConfig
from toolkit.seeds import generator

FADED = -0.5, 0.9
"""Range of the strength of a faded attribute; it is inverted below 0."""

MIN_CHANGE = 12
"""Changes of a channel up to this, of 255, count as none."""

THIN_SHARE, THIN_MARGIN, MAX_WIDTH = (0.3, 0.65), (1 / 256, 4 / 256), 1 / 24
"""Thin opaque parts: pixels that changed by more than a share of the greatest change, in structures up to a width, and
a margin around them. Share and margin are drawn from these ranges, because masks of real attributes are as inexact.
Margin and width are shares of the picture's side."""

ALL_SHARE, ALL_MARGIN = (0.05, 0.5), (0, 4 / 256)
"""Share and margin for the whole attribute, as the first pass of an edit finds it."""

Pictures = dict[str, np.ndarray]
"""Some or all of `image` and `conditioning_image`, uint8 ``[R, R, 3]``, and `mask`, bool ``[R, R]``."""


def variant_of(config: AugmentationConfig, epoch: int, clip: int) -> int:
    """The variant of a clip that an epoch shows: each in turn, and neighbouring clips differ.

    Args:
        clip: number of the clip.
    """
    return (epoch + clip) % config.variants


def augmented(pictures: Pictures, config: AugmentationConfig, seed: int, clip_id: str, variant: int) -> Pictures:
    """Augment the pictures of one frame. The result depends only on seed, clip and variant.

    Args:
        variant: 0 leaves the frame unchanged.

    Returns:
        Pictures of the same names, sizes and types.
    """
    if variant == 0:
        return pictures
    transform = _transform(config, next(iter(pictures.values())).shape[0])
    transform.set_random_seed(int(generator(seed, "augment", clip_id, variant).integers(2**31)))
    # albumentations requires a picture named `image`.
    first = next(name for name in pictures if name != "mask")
    slots = {("image" if name == first else "other" if name != "mask" else name): name for name in pictures}
    output = transform(**{slot: _uint8(pictures[name]) for slot, name in slots.items()})
    return {name: output[slot] > 0 if name == "mask" else output[slot] for slot, name in slots.items()}


def fade_attribute(image: np.ndarray, conditioning_image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the attribute fainter, or invert it, light for dark.

    Args:
        image, conditioning_image: uint8, of one shape.

    Returns:
        The new `conditioning_image`.
    """
    change = conditioning_image.astype(np.float32) - image
    return np.rint(image + rng.uniform(*FADED) * change).clip(0, 255).astype(np.uint8)


def fill_attribute(
    image: np.ndarray, conditioning_image: np.ndarray, parts: Literal["thin", "all"], rng: np.random.Generator
) -> np.ndarray:
    """Fill parts of the attribute from their surroundings.

    Args:
        image, conditioning_image: uint8, of one shape.
        parts: ``thin`` opaque ones, such as rims, as edits fill them by default; or ``all`` of the attribute, as the
            second pass of an edit shows it to the remover.

    Returns:
        The new `conditioning_image`.
    """
    import cv2

    change = cv2.absdiff(image, conditioning_image).max(axis=-1)
    greatest = np.percentile(change[change > MIN_CHANGE], 99) if (change > MIN_CHANGE).any() else 255.0
    share, margin = (THIN_SHARE, THIN_MARGIN) if parts == "thin" else (ALL_SHARE, ALL_MARGIN)
    mask = change > max(MIN_CHANGE, rng.uniform(*share) * greatest)
    side = image.shape[0]
    if parts == "thin":
        mask &= cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(side * MAX_WIDTH)) == 0
    else:
        mask = closed(mask)
    wide = cv2.dilate(mask.astype(np.uint8), disc(2 * side * rng.uniform(*margin)))
    return filled(conditioning_image[None], wide[None] > 0)[0]


def degrade_as_video(pictures: Pictures, seed: int) -> Pictures:
    """Sharpen and compress the pictures of one frame, as cameras and the web do with videos."""
    transform = _degrading()
    transform.set_random_seed(seed % 2**31)
    output = transform(image=pictures["image"], other=pictures["conditioning_image"])
    return pictures | {"image": output["image"], "conditioning_image": output["other"]}


def _video_degradation(share: float) -> list[Any]:
    import albumentations as A

    return [
        A.UnsharpMask(blur_limit=(3, 9), sigma_limit=0.0, alpha=(0.3, 1.0), threshold=0, p=share),
        A.ImageCompression(quality_range=(40, 95), p=share),
    ]


@lru_cache(maxsize=1)
def _degrading() -> Any:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    return A.Compose(_video_degradation(0.75), additional_targets={"other": "image"})


def _uint8(picture: np.ndarray) -> np.ndarray:
    return picture.view(np.uint8) if picture.dtype == bool else picture


@lru_cache(maxsize=4)
def _transform(config: AugmentationConfig, side: int) -> Any:
    # Importing albumentations looks up its latest version online, unless this is set.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    strength = config.jitter
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5 if config.flip else 0.0),
            A.RandomResizedCrop((side, side), scale=(config.min_crop**2, 1.0), ratio=(1.0, 1.0), p=1.0),
            # These keep equal pixels equal; ColorJitter does not, for its contrast depends on the picture's mean.
            A.RandomBrightnessContrast(strength, strength, p=1.0 if strength else 0.0),
            A.HueSaturationValue(0, round(strength * 255), 0, p=1.0 if strength else 0.0),
            *_video_degradation(config.video_degradation),
        ],
        additional_targets={"other": "image"},
    )
