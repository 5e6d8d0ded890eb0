"""A task whose masks are the whole crop, and which fails in the way that a video's name says."""

import multiprocessing
import os
import signal
import time

import numpy as np

from toolkit.task import AttributeTask, TaskOptions


class Frail(AttributeTask):
    name = "frail"
    description = "The whole face."
    api_version = 1
    prompt = "a face"
    Options = TaskOptions

    def masker(self):
        return mask

    def pair_generator(self):
        return lambda clip, rng, tools: iter(())


def mask(clip):
    """Everything; but videos of certain names kill their worker process, raise, or take long."""
    if "dies" in clip.source and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raises" in clip.source:
        raise ZeroDivisionError("a bug in the plugin")
    if "slow" in clip.source:
        time.sleep(float(os.environ.get("FRAIL_SLEEP", "0")))
    return np.ones(clip.frames.shape[:3], bool)
