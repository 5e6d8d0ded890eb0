"""Other projects' methods, run from a checkout and an environment that the user names."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import numpy as np

from toolkit.errors import InputError, ToolkitError
from toolkit.files import sha256_of

NAMES = ("propainter", "fgt", "tokenflow", "rave")

PATIENCE = 10.0
"""Seconds that a tool has to end when it is told to."""

_TAIL = 5
"""Lines of a tool's last words that an error repeats."""


@dataclass(frozen=True, eq=False)
class Request:
    """A video for a tool.

    Attributes:
        frames: gives the frames, uint8 ``[H, W, 3]``, RGB; may be called again.
        masks: gives the masks, bool ``[H, W]``, in step; None where the tool takes none.
        count, width, height, fps: of the video.
        prompt, negative_prompt: what the edited video shows, and what it does not.
        work: an empty folder for the tool's files.
    """

    frames: Callable[[], Iterator[np.ndarray]]
    masks: Callable[[], Iterator[np.ndarray]] | None
    count: int
    width: int
    height: int
    fps: float
    prompt: str
    negative_prompt: str
    work: Path


class External(ABC):
    """A tool in a checkout.

    Args:
        checkout: the clone of its repository, with its weights where its README puts them.
        python: the interpreter of the environment in which it runs.
    """

    name: ClassVar[str]
    needs_masks: ClassVar[bool]
    needed: ClassVar[tuple[str, ...]]
    """Files below the checkout that must be there; patterns as of `Path.glob`."""

    def __init__(self, checkout: Path, python: Path):
        # Not resolved: an environment's interpreter is a link, and knows by its own place which environment it is of.
        self.checkout, self.python = checkout.resolve(), Path(os.path.abspath(python))

    def check(self) -> None:
        """
        Raises:
            InputError: the checkout or the interpreter is not there, or a file is missing.
        """
        if not self.checkout.is_dir():
            raise InputError(f"expected the checkout of {self.name} at {self.checkout}, found no folder")
        for pattern in self.needed:
            if not any(path.is_file() for path in self.checkout.glob(pattern)):
                raise InputError(
                    f"{self.checkout} is no complete checkout of {self.name}: there is no {pattern}; get it as its "
                    "README says, or by running it once by hand"
                )
        if not (self.python.is_file() and os.access(self.python, os.X_OK)):
            raise InputError(f"expected a Python interpreter for {self.name} at {self.python}, found none")

    def scripts(self) -> dict[str, str]:
        """The checksums of its scripts: other ones may give another result."""
        return {name: sha256_of(self.checkout / name) for name in self.needed if name.endswith(".py")}

    @abstractmethod
    def run(self, request: Request) -> Iterator[np.ndarray]:
        """The result's frames, uint8 ``[H, W, 3]``, RGB: as many as the video's, of the same size.

        Raises:
            ToolkitError: the tool failed, or gave something else; the sentence has its last words.
        """

    def call(self, arguments: Sequence[str | Path], work: Path, cwd: Path | None = None) -> None:
        """Run one of its scripts: without a shell, without the Hub, and with an end when we are interrupted.

        Raises:
            ToolkitError: it cannot be started, or failed.
        """
        log = work / "log.txt"
        # What it may download it would download unasked: the user fetches weights by the tool's own means.
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        paths = [str(self.checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = offline | dict(os.environ) | {"PYTHONPATH": os.pathsep.join(paths)}
        with open(log, "ab") as file:
            try:
                process = subprocess.Popen(
                    [str(self.python), *map(str, arguments)],
                    cwd=cwd or work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolkitError(f"{self.name} cannot be started by {self.python}: {error.strerror}") from error
            try:
                code = process.wait()
            except BaseException:
                _end(process)
                raise
        if code:
            raise ToolkitError(f"{self.name} ended with {code}: {_last_words(log)}")


def external(name: str, checkout: Path, python: Path) -> External:
    """The tool of that name, one of `NAMES`."""
    module = import_module("toolkit.compare.tools")
    return module.TOOLS[name](checkout, python)


def write_pictures(folder: Path, pictures: Iterable[np.ndarray], least: int = 1, multiple: int = 1) -> int:
    """Write ``00000.png`` and on; the last one is repeated until there are enough. Returns their number.

    Args:
        pictures: uint8 ``[H, W, 3]``, RGB, or bool ``[H, W]``, which becomes 0 and 255.
        least: fewest pictures that the tool takes.
        multiple: their number is one of it.
    """
    import cv2

    folder.mkdir(parents=True)
    count, data = 0, b""
    for count, picture in enumerate(pictures, 1):
        stored = picture[..., ::-1] if picture.ndim == 3 else picture.astype(np.uint8) * 255
        data = cv2.imencode(".png", np.ascontiguousarray(stored))[1].tobytes()
        (folder / f"{count - 1:05d}.png").write_bytes(data)
    wanted = -(-max(count, least) // multiple) * multiple
    for index in range(count, wanted):
        (folder / f"{index:05d}.png").write_bytes(data)
    return wanted


def read_pictures(folder: Path, count: int, name: str) -> Iterator[np.ndarray]:
    """The first `count` of a folder's pictures in the order of their numbers, uint8 ``[H, W, 3]``, RGB.

    Raises:
        ToolkitError: there are fewer, or one is damaged.
    """
    import cv2

    paths = sorted((path for path in folder.glob("*.png") if path.stem.isdigit()), key=lambda path: int(path.stem))
    if len(paths) < count:
        raise ToolkitError(f"{name} gave {len(paths)} frames in {folder}, and the video has {count}")
    for path in paths[:count]:
        picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ToolkitError(f"{name} gave a picture that cannot be read: {path}")
        yield np.ascontiguousarray(picture[..., ::-1])


def padded(picture: np.ndarray, multiple: int) -> np.ndarray:
    """The picture with its last row and column repeated until both sides are multiples."""
    extra = [(0, -side % multiple) for side in picture.shape[:2]]
    return np.pad(picture, [*extra, (0, 0)][: picture.ndim], mode="edge")


def squared(picture: np.ndarray, side: int) -> np.ndarray:
    """The picture, made square by repeating its right or lower edge, at another size."""
    import cv2

    length = max(picture.shape[:2])
    extra = [(0, length - size) for size in picture.shape[:2]]
    whole = np.pad(picture, [*extra, (0, 0)], mode="edge")
    return cv2.resize(whole, (side, side), interpolation=cv2.INTER_AREA if side < length else cv2.INTER_CUBIC)


def unsquared(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """The way back from `squared`."""
    import cv2

    length = max(height, width)
    shrinks = length < len(picture)
    whole = cv2.resize(picture, (length, length), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.ascontiguousarray(whole[:height, :width])


def _end(process: subprocess.Popen) -> None:
    """End a tool and what it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:  # also where somebody interrupts the waiting, or the tool ended without its children
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()][-_TAIL:]
    return " | ".join(said) or "it said nothing"
