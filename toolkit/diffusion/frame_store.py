"""Tensors of a video's frames on disk, so that memory is bounded by a window and not by the video."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch


class FrameStore:
    """One tensor of the same shape and dtype for each frame, in a file.

    Args:
        shape: of one frame's tensor.
        dtype: of all.
        folder: where the file lies; the system's temporary folder if None.
        name: of the file, which is then kept, and gone on with where it is there already; without it the file has
            no name and vanishes with the object.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None = None, name: str | None = None):
        self.shape, self.dtype = tuple(shape), dtype
        self._bytes = torch.Size(shape).numel() * dtype.itemsize
        if name is None:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the store
            self._length = 0
        else:
            handle = os.open(Path(folder or ".", name), os.O_RDWR | os.O_CREAT, 0o644)
            self._file = os.fdopen(handle, "r+b")
            self._length = os.fstat(handle).st_size // self._bytes

    def __len__(self) -> int:
        """Frames up to the last one that was written."""
        return self._length

    def write(self, start: int, frames: torch.Tensor) -> None:
        """Put frames ``[K, *shape]`` at `start` and after; they are stored in the store's dtype.

        Raises:
            ValueError: the shape is another one.
            OSError: the disk is full.
        """
        if tuple(frames.shape[1:]) != self.shape:
            raise ValueError(f"expected frames {list(self.shape)}, found {list(frames.shape[1:])}")
        data = frames.detach().to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes()
        self._file.seek(start * self._bytes)
        self._file.write(data)
        self._length = max(self._length, start + len(frames))

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Frames ``[stop - start, *shape]``, on the CPU.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= start <= stop <= self._length:
            raise IndexError(f"frames {start} to {stop} of {self._length}")
        self._file.flush()
        data = bytearray(os.pread(self._file.fileno(), (stop - start) * self._bytes, start * self._bytes))
        if not data:
            return torch.empty((0, *self.shape), dtype=self.dtype)
        return torch.frombuffer(data, dtype=self.dtype).view(stop - start, *self.shape)

    def flush(self) -> None:
        """Hand everything to the system, so that it is there when this process is killed.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()

    def close(self) -> None:
        """Close the file; one without a name gives its space on the disk back."""
        self._file.close()
