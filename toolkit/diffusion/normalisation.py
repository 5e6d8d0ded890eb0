"""Inside-Out Normalisation: the edited part of the latents takes the statistics of what surrounds it.

V-LASIK (arXiv 2406.14510), section 4.3, eq. 2: inside the mask x <- s_out (x - m_in) / s_in + m_out, with mean m and
standard deviation s per channel inside and outside the mask. AdaIN, the paper's ablation, takes the statistics of
the original inside the mask instead of those of the edit outside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

SMALLEST = 1e-4
"""Standard deviations below this are taken for none: the part is then moved to the mean, not stretched."""


@dataclass(frozen=True)
class Statistics:
    """`mean` and `std`, each float64 ``[C]``, of `count` latent cells."""

    mean: torch.Tensor
    std: torch.Tensor
    count: int


class RegionStatistics:
    """Mean and standard deviation per channel inside and outside a mask, gathered chunk by chunk.

    Chan's pairwise update in float64, so that a long video gives what all of it at once would.
    """

    def __init__(self) -> None:
        self._parts: dict[bool, tuple[int, torch.Tensor, torch.Tensor] | None] = {True: None, False: None}

    def update(self, latents: torch.Tensor, mask: torch.Tensor) -> None:
        """Take in latents ``[T, C, h, w]``; where the mask ``[T, 1, h, w]`` is 0.5 or more is the inside."""
        cells = latents.double().movedim(1, -1)
        inside = (mask >= 0.5).squeeze(1)
        for where in (True, False):
            values = cells[inside == where]
            count = len(values)
            if not count:
                continue
            mean = values.mean(dim=0)
            squares = ((values - mean) ** 2).sum(dim=0)
            if self._parts[where] is not None:
                before, old_mean, old_squares = self._parts[where]
                shift, total = mean - old_mean, before + count
                squares = old_squares + squares + shift**2 * before * count / total
                mean, count = old_mean + shift * count / total, total
            self._parts[where] = (count, mean, squares)

    def inside(self) -> Statistics | None:
        """Of the masked cells; None if there were none."""
        return self._statistics(True)

    def outside(self) -> Statistics | None:
        """Of the others; None if there were none."""
        return self._statistics(False)

    def _statistics(self, where: bool) -> Statistics | None:
        if self._parts[where] is None:
            return None
        count, mean, squares = self._parts[where]
        return Statistics(mean, (squares / count).sqrt(), count)


def renormalise(
    latents: torch.Tensor, mask: torch.Tensor, found: Statistics | None, wanted: Statistics | None
) -> torch.Tensor:
    """Move the masked part of the latents from some statistics to others.

    Args:
        latents: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]`` in 0..1; in between, the result is a mixture, so that the edge stays soft.
        found: what the masked part has.
        wanted: what it shall have. If either is None, because a mask covers all or nothing, nothing changes.

    Returns:
        ``[T, C, h, w]``, of the type of `latents`.
    """
    if found is None or wanted is None:
        return latents
    shape = 1, -1, 1, 1
    flat = found.std < SMALLEST
    scale = torch.where(flat, torch.ones_like(found.std), wanted.std / found.std.clamp(min=SMALLEST))
    moved = (latents.double() - found.mean.view(shape)) * scale.view(shape) + wanted.mean.view(shape)
    return torch.lerp(latents.double(), moved, mask.double()).to(latents.dtype)


def inside_out_normalise(latents: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Eq. 2 on a clip that lies in memory; statistics are those of the whole clip, so that nothing flickers.

    Args:
        latents: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]``, bool or in 0..1.
    """
    statistics = RegionStatistics()
    statistics.update(latents, mask)
    return renormalise(latents, mask, statistics.inside(), statistics.outside())


def adain_normalise(latents: torch.Tensor, original: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """AdaIN on a clip that lies in memory: the inside takes the statistics of the original's inside.

    Args:
        latents, original: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]``, bool or in 0..1.
    """
    edited, before = RegionStatistics(), RegionStatistics()
    edited.update(latents, mask)
    before.update(original, mask)
    return renormalise(latents, mask, edited.inside(), before.inside())
