"""A task that draws one green dot on the nose, and misbehaves on request; and functions for workers."""

import os
import signal
import sys
import time
from typing import Literal

import numpy as np
from pydantic import Field

from toolkit.errors import InputError, ToolkitError
from toolkit.task import AttributeTask, Pair, TaskOptions

NOSE = 4


class Options(TaskOptions):
    size: float = Field(0.1, gt=0, lt=1, description="radius of the dot over the side of the frame")
    fault: Literal["none", "die", "raise", "outside", "dtype", "info", "invisible", "huge"] = Field(
        "none", description="what goes wrong with sources whose name contains 'bad'"
    )


class Dotty(AttributeTask):
    name = "dotty"
    description = "A green dot on the nose."
    api_version = 1
    prompt = "a face without a dot"
    Options = Options

    def masker(self):
        return lambda clip: np.zeros(clip.frames.shape[:3], bool)

    def pair_generator(self):
        return self._pairs

    def _pairs(self, clip, rng, tools):
        time.sleep(float(os.environ.get("DOTTY_SLEEP", "0")))
        fault = self.options.fault if "bad" in clip.source else "none"
        colour = rng.integers(0, 256, 3, dtype=np.uint8)
        height, width = clip.frames.shape[1:3]
        y, x = np.mgrid[:height, :width]
        for index in np.flatnonzero(clip.present):
            nose = clip.landmarks[index, NOSE, :2]
            radius = {"invisible": 0, "huge": 2}.get(fault, self.options.size) * width
            mask = (x - nose[0]) ** 2 + (y - nose[1]) ** 2 < radius**2
            edited = clip.frames[index].copy()
            edited[mask] = colour
            info = {"red": int(colour[0]), "radius": float(radius)}
            if fault == "die":
                os.write(2, b"native last words\n")
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault == "raise":
                raise ValueError("a bug in the plugin")
            elif fault == "outside":
                edited[0, 0] ^= 1
            elif fault == "dtype":
                edited = edited.astype(np.float32)
            elif fault == "info":
                info["text"] = "not yours"
            yield Pair(clip.frames[index], edited, mask, int(index), info)


class OddError(ToolkitError):
    """An error that does not survive pickling."""

    def __init__(self, number, unit):
        super().__init__(f"{number} {unit}")


def work(item):
    """What a worker is asked to do, by name."""
    os.write(2, f"W0000 native noise about {item}\n".encode())
    match item:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "raise":
            raise ValueError("a bug")
        case "refuse":
            raise InputError("the item must be good, found a bad one")
        case "odd":
            raise OddError(3, "apples")
        case "sleep":
            time.sleep(60)
        case "abort":
            os.abort()
        case "print":
            print("python noise", file=sys.stderr)
    return item, os.getpid()


def report_letters(item, report):
    """Report each letter of an item before its length; or die half-way."""
    for letter in item:
        report(letter)
        if letter == "!":
            os.kill(os.getpid(), signal.SIGKILL)
    return len(item)


def main():
    """For a run in its own process: work on the items that are named, then say so."""
    from toolkit.executor import ProcessExecutor

    for outcome in ProcessExecutor(1).run(work, sys.argv[1:]):
        print(outcome.item, outcome.error or "fine", flush=True)
