"""Writes `metrics.jsonl`, the sheets of held-out pairs, and the curves of a tracker."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.dataset.png import encode_png
from toolkit.files import write_bytes, write_text

METRICS, SHEETS = "metrics.jsonl", "validation"


class Journal:
    """The log of a training, written by the first process, and accelerate's tracker if one is configured."""

    def __init__(self, output: Path, accelerator: Any, document: dict[str, Any]):
        self._output, self._accelerator = output, accelerator
        self._file = None
        if accelerator.is_main_process:
            (output / SHEETS).mkdir(parents=True, exist_ok=True)
            self._file = (output / METRICS).open("a", encoding="utf-8")
        if accelerator.log_with:
            accelerator.init_trackers("finetune", config=_flat(document["config"]))

    def rewind(self, step: int) -> None:
        """Delete the entries after a step, because it is trained again."""
        if self._file is None:
            return
        path = self._output / METRICS
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
        self._file.close()
        write_text(path, "".join(line + "\n" for line in lines), durable=True)
        self._file = path.open("a", encoding="utf-8")

    def step(self, step: int, loss: float, learning_rate: float) -> None:
        """Log a training step."""
        self._write({"step": step, "loss": loss, "learning_rate": learning_rate})
        self._accelerator.log({"train/loss": loss, "train/learning_rate": learning_rate}, step=step)

    def validation(self, step: int, figures: dict[str, float], sheet: np.ndarray) -> Path:
        """Log the measures on held-out pairs, write their sheet, and return its path."""
        path = self._output / SHEETS / f"step-{step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, encode_png(sheet), durable=True)
        self._write({"step": step, "validation": figures})
        self._accelerator.log({f"validation/{name}": value for name, value in figures.items()}, step=step)
        for tracker in self._accelerator.trackers:
            form = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"validation": sheet[None]}, step=step, **form)
        return path

    def sync(self) -> None:
        """Flush the log to disk, before a checkpoint or a remover counts on it."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the log and the tracker."""
        if self._file is not None:
            self.sync()
            self._file.close()
        self._accelerator.end_training()

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def as_jpeg(sheet: np.ndarray) -> bytes:
    """A sheet as JPEG, for the remover's card."""
    from io import BytesIO

    from PIL import Image

    packed = BytesIO()
    Image.fromarray(sheet).save(packed, "JPEG", quality=90)
    return packed.getvalue()


def _step(line: str) -> float:
    """The step of a line; infinity for a line that was cut off, for example by a full disk, so that it is dropped."""
    try:
        return json.loads(line)["step"]
    except (ValueError, LookupError, TypeError):
        return math.inf


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Settings without nesting, in types that trackers accept."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[path + name] = value if isinstance(value, int | float | str | bool) else str(value)
    return flat
