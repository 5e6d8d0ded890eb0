"""Which frames of a track a remover edits, and how much work that is."""

from __future__ import annotations

import numpy as np

from toolkit.edit.resolved import ResolvedDenoising, ResolvedMotion


def active_stretches(masked: np.ndarray, margin: int) -> list[tuple[int, int]]:
    """Stretches to edit, as first frames and the ones after the last: masked frames, and `margin` frames around them.

    Args:
        masked: bool ``[T]``.
        margin: number of frames.
    """
    near = np.convolve(masked, np.ones(2 * margin + 1))[margin : margin + len(masked)]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], near > 0.5, [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def mostly_hidden(hidden: np.ndarray, shown: np.ndarray) -> bool:
    """Whether an attribute hides the eyes in most of the frames that show it. One answer for a track: no flicker.

    Args:
        hidden: bool ``[T]``: frames in which it hides the eyes.
        shown: bool ``[T]``: frames that show it.
    """
    return bool(shown.any()) and float(hidden[shown].mean()) > 0.5


def count_windows(length: int, denoising: ResolvedDenoising, motion: ResolvedMotion, passes: int) -> int:
    """Most windows that are denoised on a track of `length` frames, over all timesteps and passes."""
    from toolkit.diffusion.context_windows import context_windows

    steps = int(denoising.num_inference_steps * denoising.strength)
    if denoising.scheduler == "HeunDiscreteScheduler":
        steps = 2 * steps - 1  # it predicts twice in each step but the last
    elif denoising.scheduler == "PNDMScheduler" and denoising.num_inference_steps > 1:
        steps += 1  # it predicts twice in one step
    windows = context_windows(length, motion.context_length, motion.context_overlap)
    return len(windows) * steps * passes
