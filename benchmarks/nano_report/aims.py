"""What nano 2 was asked to reach, and what it reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
"""``before`` or ``now`` values by name; see `report.figures`."""


@dataclass(frozen=True)
class Aim:
    """A figure, and the least that was asked.

    Attributes:
        name: of the figure, as in `report.figures`.
        label: in the table.
        asked: the least that was asked, in the figure's own unit.
        hoped: what was hoped for; None if nothing more was.
        rising: whether more is better.
        style: format of the figure.
    """

    name: str
    label: str
    asked: float
    hoped: float | None
    rising: bool = True
    style: str = "{:.1f}"


AIMS = (
    Aim("glasses inside", "rendered glasses, PSNR inside the mask (dB)", 28, 30),
    Aim("stickers inside", "drawn stickers, PSNR inside the mask (dB)", 27, 29),
    Aim("glasses synthetic", "synthetic people, glasses, PSNR inside (dB, lossless)", 27, 29),
    Aim("glasses synthetic worst", "the same, worst video", 23, None),
    Aim("stickers synthetic", "synthetic people, stickers, PSNR inside (dB, lossless)", 26, 28),
    Aim("stickers synthetic worst", "the same, worst video", 21, None),
    Aim("untouched", "share of sticker videos left untouched", 1 / 40, 0, False, "{:.1%}"),
    Aim("detail", "real glasses: fine detail inside the lenses, over the original's", 0.85, 0.95, True, "{:.2f}"),
    Aim("remaining", "real glasses: share of their pixels that remains", 0.1, None, False, "{:.1%}"),
    Aim("glasses identity", "ID to the target, glasses", 0.92, 0.95, True, "{:.3f}"),
    Aim("stickers identity", "ID to the target, stickers", 0.98, 0.99, True, "{:.3f}"),
    Aim("glasses bare", "frames of bare people left unchanged, glasses", 0.999, 1, True, "{:.2%}"),
    Aim("stickers bare", "frames of bare people left unchanged, stickers", 0.995, 1, True, "{:.2%}"),
    Aim("glasses outside", "PSNR outside the mask before the codec, glasses (dB)", 48, 50),
    Aim("stickers outside", "PSNR outside the mask before the codec, stickers (dB)", 48, 50),
    Aim("glasses temporal", "temporal error before the codec, glasses (of 255)", 0.22, None, False, "{:.3f}"),
    Aim("stickers temporal", "temporal error before the codec, stickers (of 255)", 0.06, None, False, "{:.3f}"),
    Aim("steadiness", "real glasses: E_warp divided by the original's", 1.1, None, False, "{:.2f}"),
    Aim("cpu", "CPU time of a whole edit: commit cbd5524's divided by this, glasses", 8, 12),
    Aim("groups", "ages and skin tones: worst group behind the mean, PSNR inside (dB)", 1, 0.5, False),
    Aim("glasses arithmetic", "GFLOP for a frame at default settings, glasses", 8, None, False),
    Aim("stickers arithmetic", "GFLOP for a frame at default settings, stickers", 16, None, False),
    Aim("weights", "all weights (MB)", 60, None, False),
)


def shown(aim: Aim, value: float | None) -> str:
    """A value in the aim's format, or ``not measured``."""
    return "not measured" if value is None else spaced(aim.style.format(value))


def spaced(text: str) -> str:
    """A number with a space before its percent sign."""
    return text.replace("%", " %")


def reached(aim: Aim, value: float | None) -> bool | None:
    """Whether a value, compared as printed, reaches what was asked; None if it was not measured."""
    if value is None:
        return None
    printed, asked = (_plain(aim.style.format(one)) for one in (value, aim.asked))
    return printed >= asked if aim.rising else printed <= asked


def _plain(text: str) -> float:
    return float(text.rstrip("%"))


def rows(before: Results, now: Results) -> list[list[str]]:
    """Rows of the table of aims: label, before, now, asked, hoped, and whether the aim is reached."""
    words = {True: "yes", False: "**no**", None: "-"}
    found = []
    for aim in AIMS:
        one, other = before.get(aim.name), now.get(aim.name)
        hoped = "-" if aim.hoped is None else shown(aim, aim.hoped)
        found.append(
            [aim.label, shown(aim, one), shown(aim, other), shown(aim, aim.asked), hoped, words[reached(aim, other)]]
        )
    return found


def worst(values: Sequence[float | None], choose: Callable[..., float] = max) -> float | None:
    """The largest (or what `choose` picks) of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return choose(known) if known else None
