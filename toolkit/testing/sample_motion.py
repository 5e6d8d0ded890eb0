"""Define the movement of the sample clip's head, which repeats every `PERIOD` frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERIOD = 80
_BLINKS = (22, 58)  # first frames of the blinks
_CLOSURE = (0.35, 0.9, 1.0, 0.8, 0.4, 0.12)


@dataclass(frozen=True)
class Pose:
    """Pose and expression of the head in one frame.

    Attributes:
        yaw, pitch, roll: radians; positive turns the face to the picture's right, down, and clockwise.
        shift: dx, dy of the whole head, in pixels of the original portrait.
        breath: rise of the shoulders, in the same pixels.
        closure: 0 for open eyes to 1 for closed eyes.
        jaw: drop of the jaw, in the same pixels.
        smile: 0 for the smile of the portrait to 1 for relaxed lips.
        brows: rise of the brows, in the same pixels.
    """

    yaw: float
    pitch: float
    roll: float
    shift: tuple[float, float]
    breath: float
    closure: float
    jaw: float
    smile: float
    brows: float


def pose_at(frame: int) -> Pose:
    """The pose in frame number `frame`. Yaw stays within 18 degrees."""
    t = frame % PERIOD
    phase = 2 * np.pi * t / PERIOD

    def wave(cycles: int, offset: float = 0.0) -> float:
        return float(np.sin(cycles * phase + offset))

    closure = max((_CLOSURE[t - start] for start in _BLINKS if 0 <= t - start < len(_CLOSURE)), default=0.0)
    speech = max(0.0, wave(1, -0.6)) * (0.5 + 0.5 * wave(7))
    return Pose(
        yaw=float(np.radians(19.0 * wave(1) + 1.5 * wave(3, 0.4))),
        pitch=float(np.radians(1.0 + 5.0 * wave(2, -1.2) + 1.0 * wave(5))),
        roll=float(np.radians(2.2 * wave(1, -0.7) + 0.5 * wave(4, 1.0))),
        shift=(2.2 * wave(1, -0.2) + 0.4 * wave(3, 2.0), 1.4 * wave(2, 0.3)),
        breath=0.5 * wave(1, 1.0),
        closure=closure,
        jaw=1.6 * speech,
        smile=0.5 - 0.5 * wave(1, 1.9),
        brows=0.6 * max(0.0, wave(2, 0.9)),
    )
