"""Makes a method's videos: by an edit with given settings, or from whole frames."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.output.names import report_name
from toolkit.edit.report import EditObserver
from toolkit.errors import InputError, ToolkitError
from toolkit.files import atomic, derived_path, remove, sha256_of, write_text
from toolkit.versions import installed
from toolkit.video.retouch import VideoRetoucher

if TYPE_CHECKING:
    from toolkit.compare.external import External
    from toolkit.edit.session import Session

INPAINT_RADIUS = 3.0
"""px around a pixel that OpenCV's inpainting uses, as in OpenCV's own example."""

_LIBRARIES = ("vlasik-toolkit", "av", "mediapipe", "numpy", "opencv-contrib-python", "torch")


class Method(ABC):
    """Makes edited videos, and skips those that an earlier run made."""

    @abstractmethod
    def make(self, source: Path, target: Path, observer: EditObserver) -> None:
        """Write `target`, unless an earlier run wrote it from the same video with the same settings.

        Raises:
            ToolkitError: this video cannot be made.
        """

    def close(self) -> None:
        """Free models; the next `make` loads them again."""
        return


class EditMethod(Method):
    """Runs `toolkit edit`.

    Args:
        config: of the edit.

    Raises:
        ToolkitError: a setting is wrong, or a remover or backbone unusable.
    """

    def __init__(self, config: EditConfig):
        from toolkit.edit.video import open_session

        self._config = config
        self._session: Session | None = open_session(config)
        self.resolved = self._session.resolved
        """The settings with nothing left open."""

    def make(self, source: Path, target: Path, observer: EditObserver) -> None:
        from toolkit.edit.video import edit_in_session, finished_report, open_session

        self._session = self._session or open_session(self._config)
        if finished_report(self._session, source, target) is None:
            edit_in_session(self._session, source, target, observer, exact=True)

    def close(self) -> None:
        self._session = None


class FrameMethod(Method):
    """Replaces whole frames; sound and everything else of the video stays as it was.

    Args:
        name: of the method, for progress and errors.
        frames: function of the video, its SHA-256 and an empty folder; yields a frame, uint8 ``[H, W, 3]``, for each of
            the video.
        settings: function of the video; returns everything that determines the frames, as JSON values.
        writing: how videos are written.
    """

    def __init__(
        self,
        name: str,
        frames: Callable[[Path, str, Path], Generator[np.ndarray]],
        settings: Callable[[Path], dict[str, Any]],
        writing: WritingConfig,
    ):
        self._name, self._frames, self._settings, self._writing = name, frames, settings, writing

    def make(self, source: Path, target: Path, observer: EditObserver) -> None:
        from toolkit.video import probe

        total = probe(source).frame_count
        digest = sha256_of(source)
        document = {
            **self._settings(source),
            "method": self._name,
            "writing": self._writing.model_dump(mode="json"),
            "source": digest,
            "versions": installed(_LIBRARIES),
        }
        text = json.dumps(document, sort_keys=True, indent=1)
        record = report_name(target)
        if target.is_file() and record.is_file() and record.read_text(encoding="utf-8") == text:
            return
        observer.phase(self._name, total, "frames")
        folder = derived_path(target, before=".", after=f".{self._name}")
        remove(folder)  # left by a killed run
        folder.mkdir(parents=True)
        try:
            with atomic(target, durable=True) as staged, closing(self._frames(source, digest, folder)) as frames:
                self._write(source, staged, frames, observer)
                record.unlink(missing_ok=True)  # it must never stand beside a video that it does not describe
            write_text(record, text, durable=True)
        finally:
            remove(folder)

    def _write(self, source: Path, target: Path, frames: Iterator[np.ndarray], observer: EditObserver) -> None:
        with VideoRetoucher(source, target, self._writing.crf, self._writing.lossless) as video:
            for frame in video:
                picture = next(frames, None)
                if picture is None:
                    raise ToolkitError(f"{self._name} returned {frame.index} frames of {source}, which has more")
                video.put(picture)
                observer.advance(frame.index + 1)


def opencv_frames(source: Path, masks: Iterable[np.ndarray], kind: str) -> Generator[np.ndarray]:
    """Fill the masks of each frame by OpenCV's inpainting.

    Args:
        masks: bool ``[H, W]`` for each frame: the pixels to fill.
        kind: ``telea`` (fast marching, 2004) or ``navier-stokes`` (Bertalmio et al., 2001).

    Yields:
        uint8 ``[H, W, 3]``, RGB.
    """
    import cv2

    from toolkit.video import read_frames

    flag = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}[kind]
    for frame, mask in zip(read_frames(source), masks, strict=True):
        if mask.any():
            yield cv2.inpaint(frame.image, mask.astype(np.uint8), INPAINT_RADIUS, flag)
        else:
            yield frame.image


def external_frames(
    tool: External, source: Path, masks: Iterable[np.ndarray] | None, prompts: tuple[str, str], folder: Path
) -> Generator[np.ndarray]:
    """Run a checkout on a video.

    Args:
        masks: bool ``[H, W]`` for each frame, if the tool needs them.
        prompts: what the edited video shows, and what it does not show.
        folder: for the tool's files.

    Yields:
        uint8 ``[H, W, 3]``, RGB.
    """
    from toolkit.compare.external import Request
    from toolkit.video import probe, read_frames

    info = probe(source)
    work = folder / "tool"
    work.mkdir()
    request = Request(
        frames=lambda: (frame.image for frame in read_frames(source)),
        masks=None if masks is None else lambda: iter(masks),
        count=info.frame_count,
        width=info.width,
        height=info.height,
        fps=info.fps,
        prompt=prompts[0],
        negative_prompt=prompts[1],
        work=work,
    )
    yield from tool.run(request)


def checked(path: Path) -> Path:
    """Return the path if it exists.

    Raises:
        InputError: it does not exist.
    """
    if not path.exists():
        raise InputError(f"there is nothing at {path}; check the path")
    return path
