"""The pictures of a track on disk, one file for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from toolkit.diffusion.frame_store import FrameStore
from toolkit.edit.results import RemoverFindings
from toolkit.files import read_json, remove, sync, write_json
from toolkit.filling import around

MARGIN = 8
"""Rows around pasted pixels in which colours are kept: interpolation looks at some of them."""

_CROPPED, _FINISHED = "cropped", "finished.json"


class Pictures:
    """Pictures of one kind, uint8.

    Args:
        store: the file.
    """

    def __init__(self, store: FrameStore):
        self._store, self._written = store, False

    def read(self, start: int, stop: int) -> np.ndarray:
        """uint8 ``[K, R, R, ...]``: the pictures of the track's frames `start` to `stop`."""
        return self._store.read(start, stop).numpy()

    def write(self, start: int, pictures: np.ndarray) -> None:
        """Store uint8 ``[K, R, R, ...]`` from the track's frame `start` on."""
        self._store.write(start, torch.from_numpy(np.ascontiguousarray(pictures)))
        self._written = True

    def write_rows(self, index: int, rows: slice, picture: np.ndarray) -> None:
        """Store some rows of uint8 ``[R, R, ...]``, the picture of a frame for which there is room."""
        self._store.write_rows(index, rows.start, torch.from_numpy(np.ascontiguousarray(picture[rows])))
        self._written = True

    def reserve(self, count: int) -> None:
        """Make room for `count` pictures; those that are not written are zeros."""
        self._store.reserve(count)

    def flush(self) -> None:
        """Write everything, so that it survives a power cut."""
        if self._written:
            self._store.flush()
        self._written = False

    def close(self) -> None:
        """Close the file."""
        self._store.close()


class Bits(Pictures):
    """Pictures of one kind whose pixels are 0 or 1, one bit each; uint8 when they are read or written.

    Args:
        store: the file, with ``[ceil(R * R / 8)]`` bytes for each picture.
        side: R.
    """

    def __init__(self, store: FrameStore, side: int):
        super().__init__(store)
        self._side = side

    def read(self, start: int, stop: int) -> np.ndarray:
        """uint8 ``[K, R, R]``: the pictures of the track's frames `start` to `stop`."""
        bits = np.unpackbits(super().read(start, stop), axis=-1, count=self._side**2)
        return bits.reshape(-1, self._side, self._side)

    def write(self, start: int, pictures: np.ndarray) -> None:
        """Store uint8 ``[K, R, R]``, 0 or 1, from the track's frame `start` on."""
        super().write(start, np.packbits(pictures.reshape(len(pictures), -1), axis=-1))


class Edit(NamedTuple):
    """What is pasted.

    Attributes:
        colours: float32 ``[..., 3]`` in 0..255.
        weights: float32 ``[...]`` in 0..1: how much of them is pasted.
        replaced: float32 ``[...]`` in 0..1, at most `weights`: how much of the frame's own detail is replaced. The rest
            stays: only the difference between `colours` and the crop is added to the frame.
    """

    colours: np.ndarray
    weights: np.ndarray
    replaced: np.ndarray


class TrackStores:
    """All pictures of a track. `index` is that of a remover; colours are ``[K, R, R, 3]``, the rest ``[K, R, R]``.

    Args:
        folder: of the track.
        side: R, side of the crops in pixels.
    """

    def __init__(self, folder: Path, side: int):
        self.folder, self.side = folder, side
        self._opened: dict[str, Pictures] = {}

    @property
    def crops(self) -> Pictures:
        """The faces as they were cut out of the video."""
        return self._open("crops", 3)

    def masks(self, index: int) -> Pictures:
        """0 or 1: where the remover's attribute is or may be."""
        return self._open_bits(f"masks-{index}")

    def opaque(self, index: int) -> Pictures:
        """0 or 1: opaque parts of the remover's attribute."""
        return self._open_bits(f"opaque-{index}")

    def output(self, index: int) -> Pictures:
        """The remover's output in the stretches that it edited."""
        return self._open(f"output-{index}", 3)

    def removed(self, index: int) -> Pictures:
        """0 or 1: what the first pass removed."""
        return self._open_bits(f"removed-{index}")

    def colours(self, index: int) -> Pictures:
        """What is pasted once the removers up to this one were applied, in frames in which anything is."""
        return self._open(f"colours-{index}", 3)

    def paste_weights(self, index: int) -> Pictures:
        """0..255: how much of `colours` is pasted."""
        return self._open(f"paste-weights-{index}")

    def replaced(self, index: int) -> Pictures:
        """0..255: how much of the frame's own detail is replaced; at most the paste weights."""
        return self._open(f"replaced-{index}")

    def changed(self, index: int) -> Pictures:
        """0 or 1: what the remover changed; nothing outside the stretches that it edited."""
        return self._open_bits(f"changed-{index}")

    def edit(self, index: int, start: int, stop: int) -> Edit:
        """What is pasted after a remover."""
        return Edit(
            self.colours(index).read(start, stop).astype(np.float32),
            self.paste_weights(index).read(start, stop).astype(np.float32) / 255,
            self.replaced(index).read(start, stop).astype(np.float32) / 255,
        )

    def write_edit(self, index: int, start: int, edit: Edit) -> None:
        """Store what is pasted after a remover; what is far from it takes no room."""
        weights = np.rint(255 * edit.weights).astype(np.uint8)
        colours, replaced = np.rint(edit.colours).astype(np.uint8), np.rint(255 * edit.replaced).astype(np.uint8)
        for k in range(len(weights)):
            rows, _ = around(weights[k] > 0, MARGIN)
            for kind, pictures in (
                (self.colours, colours),
                (self.paste_weights, weights),
                (self.replaced, replaced),
            ):
                kind(index).write_rows(start + k, rows, pictures[k])

    def composited(self, count: int, start: int, stop: int) -> np.ndarray:
        """uint8 ``[K, R, R, 3]``: the crops after the first `count` removers."""
        crops = self.crops.read(start, stop)
        if count == 0:
            return crops
        edit = self.edit(count - 1, start, stop)
        return np.rint(crops + edit.weights[..., None] * (edit.colours - crops)).astype(np.uint8)

    @property
    def cropped(self) -> bool:
        """Whether `crops` is complete."""
        return (self.folder / _CROPPED).exists()

    def finish_crops(self) -> None:
        """Mark `crops` as complete."""
        self.close()
        sync(self.folder)
        write_json(self.folder / _CROPPED, True, durable=True)

    @property
    def finished(self) -> int:
        """Number of removers that were applied completely."""
        path = self.folder / _FINISHED
        return read_json(path) if path.is_file() else 0

    def reserve(self, index: int, count: int) -> None:
        """Make room for a remover's pictures; those that are not written are zeros.

        Args:
            index: of the remover.
            count: frames of the track.
        """
        pasted = self.colours, self.paste_weights, self.replaced
        for kind in (self.masks, self.opaque, self.output, self.changed, *pasted):
            kind(index).reserve(count)
        self.close()  # other processes may write them from here on

    def pass_through(self, index: int, count: int) -> None:
        """Keep the edit of the removers before.

        Args:
            index: of the remover.
            count: frames of the track.
        """
        for k in range(count if index else 0):
            self.write_edit(index, k, self.edit(index - 1, k, k + 1))
        self.flush()

    def finish(self, index: int) -> None:
        """Count a remover as applied, and delete what nothing after it needs."""
        self.close()
        pasted = "colours", "paste-weights", "replaced"
        for kind in ("masks", *pasted):  # no later run makes them again
            sync(self.folder / f"{kind}-{index}")
        write_json(self.folder / _FINISHED, index + 1, durable=True)
        names = [f"{kind}-{index}" for kind in ("opaque", "output", "removed", "changed", "parts")]
        if index:
            names += [f"{kind}-{index - 1}" for kind in pasted]
        for name in names:
            remove(self.folder / name)

    def findings(self, index: int) -> RemoverFindings:
        """What was found out before and after the remover ran."""
        return RemoverFindings.model_validate(read_json(self.folder / f"findings-{index}.json"))

    def write_findings(self, index: int, findings: RemoverFindings) -> None:
        """Store what was found out."""
        write_json(self.folder / f"findings-{index}.json", findings.model_dump(mode="json"), durable=True)

    def flush(self) -> None:
        """Write everything, so that it survives a power cut."""
        for pictures in self._opened.values():
            pictures.flush()

    def close(self) -> None:
        """Close all files; they are opened again when they are used."""
        for pictures in self._opened.values():
            pictures.close()
        self._opened.clear()

    def _open(self, name: str, channels: int = 1) -> Pictures:
        if name not in self._opened:
            shape = (self.side, self.side, 3) if channels == 3 else (self.side, self.side)
            self._opened[name] = Pictures(FrameStore(shape, torch.uint8, self.folder, name))
        return self._opened[name]

    def _open_bits(self, name: str) -> Pictures:
        if name not in self._opened:
            store = FrameStore((-(-(self.side**2) // 8),), torch.uint8, self.folder, name)
            self._opened[name] = Bits(store, self.side)
        return self._opened[name]
