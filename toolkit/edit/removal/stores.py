"""The pictures of a track on disk, one file for each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from toolkit.diffusion.frame_store import FrameStore
from toolkit.edit.results import RemoverFindings
from toolkit.files import read_json, remove, sync, write_json

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
        return self._open(f"masks-{index}")

    def opaque(self, index: int) -> Pictures:
        """0 or 1: opaque parts of the remover's attribute."""
        return self._open(f"opaque-{index}")

    def output(self, index: int) -> Pictures:
        """The remover's output in the stretches that it edited."""
        return self._open(f"output-{index}", 3)

    def removed(self, index: int) -> Pictures:
        """0 or 1: what the first pass removed."""
        return self._open(f"removed-{index}")

    def colours(self, index: int) -> Pictures:
        """What is pasted once the removers up to this one were applied, in frames in which anything is."""
        return self._open(f"colours-{index}", 3) if index else self.output(index)  # nothing is below the first

    def paste_weights(self, index: int) -> Pictures:
        """0..255: how much of `colours` is pasted."""
        return self._open(f"paste-weights-{index}")

    def changed(self, index: int) -> Pictures:
        """0 or 1: what the remover changed; nothing outside the stretches that it edited."""
        return self._open(f"changed-{index}")

    def edit(self, index: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Colours float32 ``[K, R, R, 3]`` in 0..255, and their weights ``[K, R, R]`` in 0..1, after a remover."""
        colours = self.colours(index).read(start, stop).astype(np.float32)
        return colours, self.paste_weights(index).read(start, stop).astype(np.float32) / 255

    def composited(self, count: int, start: int, stop: int) -> np.ndarray:
        """uint8 ``[K, R, R, 3]``: the crops after the first `count` removers."""
        crops = self.crops.read(start, stop)
        if count == 0:
            return crops
        colours, weights = self.edit(count - 1, start, stop)
        return np.rint(crops + weights[..., None] * (colours - crops)).astype(np.uint8)

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
        for kind in (self.masks, self.opaque, self.output, self.changed, self.colours, self.paste_weights):
            kind(index).reserve(count)
        self.close()  # other processes may write them from here on

    def pass_through(self, index: int, count: int) -> None:
        """Keep the edit of the removers before.

        Args:
            index: of the remover.
            count: frames of the track.
        """
        for k in range(count if index else 0):
            self.colours(index).write(k, self.colours(index - 1).read(k, k + 1))
            self.paste_weights(index).write(k, self.paste_weights(index - 1).read(k, k + 1))
        self.flush()

    def finish(self, index: int) -> None:
        """Count a remover as applied, and delete what nothing after it needs."""
        self.close()
        colours = f"colours-{index}" if index else "output-0"
        for name in (f"masks-{index}", colours, f"paste-weights-{index}"):  # no later run makes them again
            sync(self.folder / name)
        write_json(self.folder / _FINISHED, index + 1, durable=True)
        names = [f"{kind}-{index}" for kind in ("opaque", "removed", "changed", "parts")]
        if index:
            names += [
                f"output-{index}",
                f"paste-weights-{index - 1}",
                f"colours-{index - 1}" if index > 1 else "output-0",
            ]
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
