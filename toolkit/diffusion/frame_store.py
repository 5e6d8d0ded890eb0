"""Per-frame tensors, on disk so that memory use does not grow with the video, or in memory for a few frames."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Protocol

import torch


class Frames(Protocol):
    """One tensor of the same shape and dtype for each frame."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __len__(self) -> int: ...

    def write(self, start: int, frames: torch.Tensor) -> None:
        """Write frames ``[K, *shape]`` from index `start` on, converted to `dtype`."""

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames ``[stop - start, *shape]`` to the CPU."""

    def flush(self) -> None:
        """Make sure that they survive if this process is killed."""

    def close(self) -> None:
        """Free what they need."""


class MemoryStore:
    """Frames in memory.

    Args:
        shape, dtype: as for `FrameStore`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype):
        self.shape, self.dtype = tuple(shape), dtype
        self._frames = torch.empty((0, *self.shape), dtype=dtype)

    def __len__(self) -> int:
        return len(self._frames)

    def write(self, start: int, frames: torch.Tensor) -> None:
        """Write frames ``[K, *shape]`` from index `start` on; not beyond the end of those before."""
        before, after = self._frames[:start], self._frames[start + len(frames) :]
        self._frames = torch.cat([before, frames.detach().to("cpu", self.dtype), after])

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames ``[stop - start, *shape]``. They share memory with the store."""
        return self._frames[start:stop]

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Free the memory."""
        self._frames = self._frames[:0].clone()


class FrameStore:
    """A file with one tensor of the same shape and dtype for each frame.

    Args:
        shape: shape of one frame's tensor.
        dtype: dtype of all tensors.
        folder: folder of the file. If None, the system's temporary folder.
        name: file name. An existing file is continued, and the file remains after closing. If None, the file is
            anonymous and deleted on closing.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, folder: Path | None = None, name: str | None = None):
        self.shape, self.dtype = tuple(shape), dtype
        self._bytes = torch.Size(shape).numel() * dtype.itemsize
        self._named = name is not None
        if name is None:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the store
            self._length = 0
        else:
            handle = os.open(Path(folder or ".", name), os.O_RDWR | os.O_CREAT, 0o644)
            self._file = os.fdopen(handle, "r+b")
            self._length = os.fstat(handle).st_size // self._bytes

    def __len__(self) -> int:
        """Number of frames, up to the last one written."""
        return self._length

    def write(self, start: int, frames: torch.Tensor) -> None:
        """Write frames ``[K, *shape]`` from index `start` on, converted to the store's dtype.

        Raises:
            ValueError: the shape differs from the store's.
            OSError: the disk is full.
        """
        if tuple(frames.shape[1:]) != self.shape:
            raise ValueError(f"expected frames {list(self.shape)}, found {list(frames.shape[1:])}")
        data = frames.detach().to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes()
        self._file.seek(start * self._bytes)
        self._file.write(data)
        self._length = max(self._length, start + len(frames))

    def write_rows(self, index: int, first: int, rows: torch.Tensor) -> None:
        """Write rows ``[N, *shape[1:]]`` of one frame, from its row `first` on; what is in its other rows stays.

        Raises:
            OSError: the disk is full.
        """
        data = rows.detach().to("cpu", self.dtype).contiguous().view(torch.uint8).numpy().tobytes()
        self._file.seek(index * self._bytes + first * (self._bytes // self.shape[0]))
        self._file.write(data)

    def reserve(self, length: int) -> None:
        """Make the store hold at least `length` frames; those that are not written are zeros, and take no room.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()
        if length > self._length:
            os.truncate(self._file.fileno(), length * self._bytes)
            self._length = length

    def read(self, start: int, stop: int) -> torch.Tensor:
        """Read frames ``[stop - start, *shape]`` to the CPU.

        Raises:
            IndexError: the range exceeds the store.
        """
        if not 0 <= start <= stop <= self._length:
            raise IndexError(f"expected a range within {self._length} frames, found {start} to {stop}")
        self._file.flush()
        data = bytearray(os.pread(self._file.fileno(), (stop - start) * self._bytes, start * self._bytes))
        if not data:
            return torch.empty((0, *self.shape), dtype=self.dtype)
        return torch.frombuffer(data, dtype=self.dtype).view(stop - start, *self.shape)

    def flush(self) -> None:
        """Write all frames, so that they survive if this process is killed; those of a named file, a power cut too.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()
        if self._named:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file, and delete it if it is anonymous."""
        self._file.close()
