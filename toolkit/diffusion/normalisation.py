"""Inside-Out Normalisation: match the statistics of the edited latents to their surroundings.

V-LASIK (arXiv 2406.14510), section C.2, eq. 2: inside the mask x <- s_out (x - m_in) / s_in + m_out, with mean m and
standard deviation s per channel inside and outside the mask. Hair and background are outside the mask of a face crop
too; with `RING`, "outside" is only what is next to the mask, such as skin. AdaIN, the paper's ablation, uses the
statistics of the original inside the mask instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from toolkit.filling import distances

RING = 1 / 16
"""Width of the ring around a mask, as a share of the larger side, but at least one latent cell."""

SMALLEST = 1e-4
"""Below this standard deviation, latents are shifted to the target mean but not scaled."""


@dataclass(frozen=True)
class Statistics:
    """`mean` and `std` of `count` latent cells, each float64 ``[C]``."""

    mean: torch.Tensor
    std: torch.Tensor
    count: int


class RegionStatistics:
    """Mean and standard deviation per channel inside and outside a mask, updated chunk by chunk.

    Chan's pairwise update in float64 gives the same result as one pass over the whole video.

    Args:
        ring: width of the ring around the mask that counts as outside, as a share of the larger side; None for all of
            the outside.
    """

    def __init__(self, ring: float | None = None) -> None:
        self._ring = ring
        self._parts: dict[bool, tuple[int, torch.Tensor, torch.Tensor] | None] = {True: None, False: None}

    def update(self, latents: torch.Tensor, mask: torch.Tensor) -> None:
        """Add latents ``[T, C, h, w]``. Cells with a mask ``[T, 1, h, w]`` of 0.5 or more are inside."""
        cells = latents.double().movedim(1, -1)
        inside = (mask >= 0.5).squeeze(1)
        for side, part in ((True, inside), (False, self._outside(inside))):
            values = cells[part]
            count = len(values)
            if not count:
                continue
            mean = values.mean(dim=0)
            squares = ((values - mean) ** 2).sum(dim=0)
            if (earlier := self._parts[side]) is not None:
                before, old_mean, old_squares = earlier
                shift, total = mean - old_mean, before + count
                squares = old_squares + squares + shift**2 * before * count / total
                mean, count = old_mean + shift * count / total, total
            self._parts[side] = (count, mean, squares)

    def _outside(self, inside: torch.Tensor) -> torch.Tensor:
        if self._ring is None:
            return ~inside
        reach = max(1.0, self._ring * max(inside.shape[1:]))
        near = [torch.from_numpy((distances(one) <= reach) & one.any()) for one in inside.cpu().numpy()]
        return torch.stack(near).to(inside.device) & ~inside

    def inside(self) -> Statistics | None:
        """Statistics of the masked cells, or None if there are none."""
        return self._statistics(True)

    def outside(self) -> Statistics | None:
        """Statistics of the other cells, or of the ring; None if there are none."""
        return self._statistics(False)

    def _statistics(self, side: bool) -> Statistics | None:
        part = self._parts[side]
        if part is None:
            return None
        count, mean, squares = part
        return Statistics(mean, (squares / count).sqrt(), count)


def renormalise(
    latents: torch.Tensor, mask: torch.Tensor, found: Statistics | None, wanted: Statistics | None
) -> torch.Tensor:
    """Shift and scale the masked latents from one mean and standard deviation to another.

    Args:
        latents: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]`` in 0..1. Values in between blend the result with `latents`, for a soft edge.
        found: current statistics of the masked latents.
        wanted: target statistics. If either is None, because a mask covers everything or nothing, nothing changes.

    Returns:
        ``[T, C, h, w]``, with the dtype of `latents`.
    """
    if found is None or wanted is None:
        return latents
    shape = 1, -1, 1, 1
    flat = found.std < SMALLEST
    scale = torch.where(flat, torch.ones_like(found.std), wanted.std / found.std.clamp(min=SMALLEST))
    moved = (latents.double() - found.mean.view(shape)) * scale.view(shape) + wanted.mean.view(shape)
    return torch.lerp(latents.double(), moved, mask.double()).to(latents.dtype)


def inside_out_normalise(latents: torch.Tensor, mask: torch.Tensor, ring: float | None = None) -> torch.Tensor:
    """Apply eq. 2 to a clip in memory, with statistics of the whole clip to avoid flicker.

    Args:
        latents: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]``, bool or in 0..1.
        ring: as for `RegionStatistics`.
    """
    statistics = RegionStatistics(ring)
    statistics.update(latents, mask)
    return renormalise(latents, mask, statistics.inside(), statistics.outside())


def adain_normalise(latents: torch.Tensor, original: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Apply AdaIN to a clip in memory: match the masked latents to those of the original.

    Args:
        latents, original: ``[T, C, h, w]``.
        mask: ``[T, 1, h, w]``, bool or in 0..1.
    """
    edited, before = RegionStatistics(), RegionStatistics()
    edited.update(latents, mask)
    before.update(original, mask)
    return renormalise(latents, mask, edited.inside(), before.inside())
