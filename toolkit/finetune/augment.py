"""Augmentation that is consistent over a clip: all frames of it get the same crop, flip and colours."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from toolkit.filling import closed, disc, filled
from toolkit.finetune.config import AugmentationConfig
from toolkit.seeds import generator

FADED = -0.5, 0.9
"""Strengths of attributes that are made fainter; below 0 stands their opposite."""

OPAQUE, LEAST, MARGIN, THICK = (0.3, 0.65), 12, (1 / 256, 4 / 256), 1 / 24
"""What counts as a thin opaque part of an attribute: where a channel changed by more than a share of the greatest
change, drawn from the first, and by the second of 255, in places thinner than the last; and what lies within a draw
from the third. Both lengths are shares of the side. Masks of real attributes are as inexact."""

FOUND, AROUND = (0.05, 0.5), (0, 4 / 256)
"""The same of all of an attribute, as a first look of a remover finds it."""

Pictures = dict[str, np.ndarray]
"""`image` and `conditioning_image`, uint8 ``[R, R, 3]``, and `mask`, bool ``[R, R]``, all or some of them."""


def variant_of(config: AugmentationConfig, epoch: int, clip: int) -> int:
    """Which version of a clip, by its number, an epoch shows: each in turn, and different ones side by side."""
    return (epoch + clip) % config.variants


def augmented(pictures: Pictures, config: AugmentationConfig, seed: int, clip_id: str, variant: int) -> Pictures:
    """A version of some pictures of one frame; only clip and version decide it.

    Args:
        variant: 0 is the frame as it is.

    Returns:
        Pictures of the same names, sizes and types.
    """
    if variant == 0:
        return pictures
    transform = _transform(config, next(iter(pictures.values())).shape[0])
    transform.set_random_seed(int(generator(seed, "augment", clip_id, variant).integers(2**31)))
    # albumentations wants an `image`, whatever is given.
    first = next(name for name in pictures if name != "mask")
    given = {("image" if name == first else "other" if name != "mask" else name): name for name in pictures}
    made = transform(**{slot: _uint8(pictures[name]) for slot, name in given.items()})
    return {name: made[slot] > 0 if name == "mask" else made[slot] for slot, name in given.items()}


def fade_attribute(image: np.ndarray, conditioning_image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with the attribute with less of it, or with its opposite, light for dark.

    Args:
        image, conditioning_image: uint8, of one shape.
    """
    change = conditioning_image.astype(np.float32) - image
    return np.rint(image + rng.uniform(*FADED) * change).clip(0, 255).astype(np.uint8)


def fill_attribute(
    image: np.ndarray, conditioning_image: np.ndarray, parts: Literal["thin", "all"], rng: np.random.Generator
) -> np.ndarray:
    """The picture with the attribute, of which parts are continued from around them.

    Args:
        image, conditioning_image: uint8, of one shape.
        parts: thin opaque ones, such as rims, as `toolkit edit --fill` shows it to removers; or all that changed, as
            they see it at their second look.
    """
    import cv2

    change = cv2.absdiff(image, conditioning_image).max(axis=-1)
    greatest = np.percentile(change[change > LEAST], 99) if (change > LEAST).any() else 255.0
    share, margin = (OPAQUE, MARGIN) if parts == "thin" else (FOUND, AROUND)
    mask = change > max(LEAST, rng.uniform(*share) * greatest)
    side = image.shape[0]
    if parts == "thin":
        mask &= cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(side * THICK)) == 0
    else:
        mask = closed(mask)
    wide = cv2.dilate(mask.astype(np.uint8), disc(2 * side * rng.uniform(*margin)))
    return filled(conditioning_image[None], wide[None] > 0)[0]


def degrade_as_video(pictures: Pictures, seed: int) -> Pictures:
    """Pictures of one frame sharpened and compressed, as cameras and the web do with videos; the seed decides how."""
    transform = _degrading()
    transform.set_random_seed(seed % 2**31)
    made = transform(image=pictures["image"], other=pictures["conditioning_image"])
    return pictures | {"image": made["image"], "conditioning_image": made["other"]}


def _video_degradation(share: float) -> list[Any]:
    import albumentations as A

    return [
        A.UnsharpMask(blur_limit=(3, 9), sigma_limit=0.0, alpha=(0.3, 1.0), threshold=0, p=share),
        A.ImageCompression(quality_range=(40, 95), p=share),
    ]


@lru_cache(maxsize=1)
def _degrading() -> Callable[..., Pictures]:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    return A.Compose(_video_degradation(0.75), additional_targets={"other": "image"})


def _uint8(picture: np.ndarray) -> np.ndarray:
    return picture.view(np.uint8) if picture.dtype == bool else picture


@lru_cache(maxsize=4)
def _transform(config: AugmentationConfig, side: int) -> Callable[..., Pictures]:
    # albumentations asks the network for its latest version when it is imported, unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A

    strength = config.jitter
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5 if config.flip else 0.0),
            A.RandomResizedCrop((side, side), scale=(config.min_crop**2, 1.0), ratio=(1.0, 1.0), p=1.0),
            # Pixel by pixel, so that what is equal stays so; ColorJitter's contrast looks at the picture's mean.
            A.RandomBrightnessContrast(strength, strength, p=1.0 if strength else 0.0),
            A.HueSaturationValue(0, round(strength * 255), 0, p=1.0 if strength else 0.0),
            *_video_degradation(config.video_degradation),
        ],
        additional_targets={"other": "image"},
    )
