"""Read stickers from a folder of PNG and WebP pictures with transparency."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from attributes.stickers.art.sticker import Sticker, fit
from toolkit.errors import InputError

SUFFIXES = (".png", ".webp")
LONG_SIDE = 512
"""Largest size of the longer side in pixels. Larger pictures are reduced."""
MAX_PIXELS = 64_000_000
"""Largest number of pixels. Checked before decoding, because a small file can unpack to gigabytes."""
GLOSS = 0.35
_FORMATS = ("PNG", "WEBP")


class _Folder(Sequence[Sticker]):
    """Stickers that are read on access. Only the paths are stored."""

    def __init__(self, paths: list[Path]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index):
        return _Folder(self._paths[index]) if isinstance(index, slice) else read_sticker(self._paths[index])


def load_art(folder: str | Path) -> Sequence[Sticker]:
    """The PNG and WebP pictures in a folder, without subfolders, sorted by name. Each is read on access.

    Raises:
        InputError: the folder is missing, unreadable, or has no such pictures. Accessing a sticker raises it if the
            picture cannot be used, as for `read_sticker`.
    """
    folder = Path(folder)
    try:
        entries = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
        paths = sorted((p for p in entries if p.is_file()), key=lambda p: p.name)
    except NotADirectoryError as error:
        raise InputError(
            f"expected a folder of PNG or WebP stickers, found a file: {folder}; use its folder"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read the sticker folder {folder}: {error.strerror}; use a readable folder") from error
    if not paths:
        raise InputError(
            f"expected PNG or WebP pictures in {folder}, found none; put pictures with transparency there "
            "(its subfolders are not searched)"
        )
    return _Folder(paths)


def read_sticker(path: str | Path) -> Sticker:
    """Read one picture: the first frame of an animation, any colour mode, trimmed and reduced to 512 pixels.

    Raises:
        InputError: it is missing, truncated, of another format, larger than 64 megapixels, without an alpha channel, or
            fully transparent.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Pillow would also warn, but the limit below is stricter than its own.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=_FORMATS)
        with picture:
            _check_header(picture, path)
            rgba = fit(_to_rgba(picture), LONG_SIDE)
    except UnidentifiedImageError as error:
        raise InputError(f"expected a PNG or WebP picture, found something else in {path}; save it again") from error
    except Image.DecompressionBombError as error:
        raise InputError(_too_large(path, "more")) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # Pillow raises any of these for broken chunks.
        raise InputError(f"cannot read the sticker {path}: {error}; save it again or remove it") from error
    if rgba is None:
        raise InputError(f"expected something visible in {path}, found only transparent pixels; remove it")
    return Sticker(path.stem, rgba, "file", GLOSS)


def _check_header(picture: Image.Image, path: Path) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path, f"{width}x{height}"))
    if not picture.has_transparency_data:
        raise InputError(
            f"expected a picture with an alpha channel, found none in {path} (mode {picture.mode}); "
            "save it with transparency"
        )


def _too_large(path: Path, found: str) -> str:
    return f"expected at most {MAX_PIXELS // 1_000_000} megapixels, found {found} in {path}; reduce the picture"


def _to_rgba(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith("I"):
        return picture.convert("RGBA")
    # 16-bit grey with one transparent value. Pillow's conversion clips at 255 instead of scaling.
    grey = np.asarray(picture, np.int64)
    alpha = np.where(grey == picture.info["transparency"], 0, 255).astype(np.uint8)
    value = (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)
    return Image.fromarray(np.stack([value, value, value, alpha], axis=-1), "RGBA")
