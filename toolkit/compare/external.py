"""Runs other projects' methods from a checkout and a Python environment that the user names."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from toolkit.errors import InputError, ToolkitError
from toolkit.files import sha256_of

PATIENCE = 10.0
"""Seconds between asking a tool to stop and killing it."""

_TAIL = 5
"""Lines of a tool's output that an error quotes."""


@dataclass(frozen=True, eq=False)
class Request:
    """A video for a tool.

    Attributes:
        frames: returns an iterator over the frames, uint8 ``[H, W, 3]``, RGB; may be called again.
        masks: the same for the masks, bool ``[H, W]``; None if the tool needs none.
        count, width, height, fps: of the video.
        prompt, negative_prompt: what the edited video shows, and what it does not show.
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
        checkout: clone of the tool's repository, with its weights where the tool's README puts them.
        python: interpreter of the environment that the tool runs in.
    """

    name: ClassVar[str]
    needs_masks: ClassVar[bool]
    needed: ClassVar[tuple[str, ...]]
    """Files that the checkout must contain; patterns as for `Path.glob`."""

    def __init__(self, checkout: Path, python: Path):
        # The interpreter is not resolved: it is a link, and its own location tells it which environment it belongs to.
        self.checkout, self.python = checkout.resolve(), Path(os.path.abspath(python))

    def check(self) -> None:
        """Check that the tool can be run.

        Raises:
            InputError: the checkout, the interpreter or a needed file is missing.
        """
        if not self.checkout.is_dir():
            raise InputError(f"expected the checkout of {self.name} at {self.checkout}, found no folder")
        for pattern in self.needed:
            if not any(path.is_file() for path in self.checkout.glob(pattern)):
                raise InputError(
                    f"{self.checkout} is not a complete checkout of {self.name}: {pattern} is missing; get it as the "
                    "project's README says, or run the project once by hand"
                )
        if not (self.python.is_file() and os.access(self.python, os.X_OK)):
            raise InputError(f"expected a Python interpreter for {self.name} at {self.python}, found none")

    def scripts(self) -> dict[str, str]:
        """SHA-256 of the tool's scripts: another version may give another result."""
        return {name: sha256_of(self.checkout / name) for name in self.needed if name.endswith(".py")}

    @abstractmethod
    def run(self, request: Request) -> Iterator[np.ndarray]:
        """Run the tool on a video.

        Yields:
            uint8 ``[H, W, 3]``, RGB: as many frames as the video has, of the same size.

        Raises:
            ToolkitError: the tool failed or returned something else; the message quotes its last output.
        """

    def call(self, arguments: Sequence[str | Path], work: Path, cwd: Path | None = None) -> None:
        """Run one of the tool's scripts without a shell and without the Hub; if interrupted, end it.

        Args:
            arguments: the script, and its own arguments.
            work: folder for the log.
            cwd: current folder of the script; `work` if None.

        Raises:
            ToolkitError: the script cannot be started, or fails.
        """
        log = work / "log.txt"
        # Offline, because the tools download weights without asking: the user fetches them as the project describes.
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
            raise ToolkitError(f"{self.name} ended with {code}: {_last_lines(log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a tool and the processes that it started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    finally:  # also if the wait is interrupted, or if the tool ended before its children
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").split("\n")]
    return " | ".join([line for line in lines if line][-_TAIL:]) or "it printed nothing"
