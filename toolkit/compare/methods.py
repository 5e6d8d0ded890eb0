"""How each method makes its videos."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.edit.config import EditConfig, WritingConfig
from toolkit.edit.report import EditObserver
from toolkit.errors import InputError, ToolkitError
from toolkit.files import sha256_of
from toolkit.versions import installed
from toolkit.video.retouch import VideoRetoucher

if TYPE_CHECKING:
    from toolkit.compare.external import External
    from toolkit.edit.engine import Editor

INPAINT_RADIUS = 3.0
"""px around a pixel that OpenCV's inpainting looks at, as in its own example."""


_LIBRARIES = ("vlasik-toolkit", "av", "mediapipe", "numpy", "opencv-contrib-python", "torch")


class Method(ABC):
    """Makes a video's counterpart, and knows when it is made already."""

    @abstractmethod
    def make(self, source: Path, target: Path, observer: EditObserver) -> None:
        """Write `target`, unless an earlier run wrote the same.

        Raises:
            ToolkitError: this video cannot be made.
        """

    def close(self) -> None:
        """Free models; the next `make` loads them again."""
        return


class EditMethod(Method):
    """`toolkit edit` with settings.

    Args:
        config: of the edit; what is wrong with it is found here.
    """

    def __init__(self, config: EditConfig):
        from toolkit.edit.engine import Editor

        self._config = config
        self._editor: Editor | None = Editor(config)

    def make(self, source: Path, target: Path, observer: EditObserver) -> None:
        from toolkit.edit.engine import Editor

        self._editor = self._editor or Editor(self._config)
        if self._editor.finished(source, target) is None:
            self._editor.edit(source, target, observer)

    def close(self) -> None:
        self._editor = None


class FrameMethod(Method):
    """A method that gives whole frames; everything else of the video stays as it was.

    Args:
        name: for people.
        frames: function of the video, its digest and an empty folder, which gives uint8 ``[H, W, 3]`` for each frame.
        settings: function of the video, which gives JSON values that decide what `frames` gives.
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
        record = target.with_name(f"{target.name}.json")
        if target.is_file() and record.is_file() and record.read_text(encoding="utf-8") == text:
            return
        observer.phase(self._name, total, "frames")
        folder = target.with_name(f".{target.name}.{self._name}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            staged = target.with_name(f".{target.stem}.staged{target.suffix}")
            with (
                closing(iter(self._frames(source, digest, folder))) as made,
                VideoRetoucher(source, staged, self._writing.crf, self._writing.lossless) as video,
            ):
                for frame in video:
                    picture = next(made, None)
                    if picture is None:
                        raise ToolkitError(f"{self._name} gave {frame.index} frames of {source}, which has more")
                    video.put(picture)
                    observer.advance(frame.index + 1)
            record.with_name(f".{record.name}.part").write_text(text, encoding="utf-8")
            record.unlink(missing_ok=True)  # it must not stand beside a video that it does not describe
            os.replace(staged, target)
            os.replace(record.with_name(f".{record.name}.part"), record)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def opencv_frames(source: Path, masks: Iterable[np.ndarray], kind: str) -> Iterator[np.ndarray]:
    """Frames filled by OpenCV's inpainting, each by itself.

    Args:
        masks: bool ``[H, W]`` for each frame: what is filled.
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
) -> Iterator[np.ndarray]:
    """Frames that a checkout makes of a video.

    Args:
        masks: bool ``[H, W]`` for each frame, for a tool that needs them.
        prompts: what the edited video shows, and what it does not.
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
    """A named file or folder.

    Raises:
        InputError: it is not there.
    """
    if not path.exists():
        raise InputError(f"there is nothing at {path}; check the path")
    return path
