"""Pictures for other projects' tools: numbered PNG files, padding, and squares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from toolkit.errors import ToolkitError


def write_pictures(folder: Path, pictures: Iterable[np.ndarray], least: int = 1) -> None:
    """Write ``00000.png``, ``00001.png`` and so on; the last picture is repeated if there are too few.

    Args:
        pictures: uint8 ``[H, W, 3]``, RGB, or bool ``[H, W]``, which becomes 0 and 255.
        least: the fewest pictures that the tool accepts.
    """
    import cv2

    folder.mkdir(parents=True)
    count, data = 0, b""
    for count, picture in enumerate(pictures, 1):
        stored = picture[..., ::-1] if picture.ndim == 3 else picture.astype(np.uint8) * 255
        data = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
        (folder / f"{count - 1:05d}.png").write_bytes(data)
    for index in range(count, least):
        (folder / f"{index:05d}.png").write_bytes(data)


def read_pictures(folder: Path, count: int, name: str) -> Iterator[np.ndarray]:
    """Read the first `count` pictures of a folder, in the order of their numbers.

    Args:
        name: of the tool, for errors.

    Yields:
        uint8 ``[H, W, 3]``, RGB.

    Raises:
        ToolkitError: there are fewer pictures, or one is damaged.
    """
    import cv2

    paths = sorted((path for path in folder.glob("*.png") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if len(paths) < count:
        raise ToolkitError(f"{name} wrote {len(paths)} frames to {folder}, but the video has {count}")
    for path in paths[:count]:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ToolkitError(f"{name} wrote a picture that cannot be read: {path}")
        yield np.ascontiguousarray(picture[..., ::-1])


def read_gif(path: Path, count: int, name: str) -> Iterator[np.ndarray]:
    """Read the first `count` frames of a GIF; arguments, frames and errors are those of `read_pictures`."""
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            found = getattr(picture, "n_frames", 1)
            if found < count:
                raise ToolkitError(f"{name} wrote {found} frames to {path}, but the video has {count}")
            for _, frame in zip(range(count), ImageSequence.Iterator(picture)):
                yield np.array(frame.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise ToolkitError(f"{name} wrote a GIF that cannot be read: {path}") from error


def padded(picture: np.ndarray, multiple: int) -> np.ndarray:
    """Repeat the last row and column until both sides are multiples."""
    extra = [(0, -side % multiple) for side in picture.shape[:2]]
    return np.pad(picture, [*extra, (0, 0)][: picture.ndim], mode="edge")


def unpadded(picture: np.ndarray, height: int, width: int, name: str) -> np.ndarray:
    """Undo `padded`, for multiples up to 8.

    Raises:
        ToolkitError: the picture has another size.
    """
    if picture.shape[0] - height not in range(8) or picture.shape[1] - width not in range(8):
        raise ToolkitError(
            f"{name} returned frames of {picture.shape[1]}x{picture.shape[0]}, expected {width}x{height}"
        )
    return np.ascontiguousarray(picture[:height, :width])


def squared(picture: np.ndarray, side: int) -> np.ndarray:
    """Make a picture square by repeating its right or lower edge, then resize it."""
    import cv2

    length = max(picture.shape[:2])
    extra = [(0, length - size) for size in picture.shape[:2]]
    whole = np.pad(picture, [*extra, (0, 0)], mode="edge")
    return cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA if side < length else cv2.INTER_CUBIC)


def unsquared(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Undo `squared`."""
    import cv2

    length = max(height, width)
    shrinks = length < len(picture)
    whole = cv2.resize(picture, (length, length), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.ascontiguousarray(whole[:height, :width])
