"""Computes RAFT's correlations within a memory limit."""

from __future__ import annotations

import torch
from torch.nn import functional
from torchvision.models.optical_flow.raft import CorrBlock

MAX_BYTES = 2 << 30
"""Limit for the correlations of one pass; building them briefly takes twice as much."""

_NETWORK_BYTES = 32 << 10
"""Approximate memory of the rest of RAFT for each pixel of a pair's feature maps (64 pixels of the frame)."""

_GATHER_BYTES = 64 << 20
"""Limit for the features gathered at once when correlations are computed on the fly."""


class BoundedCorrelation(CorrBlock):
    """The correlation block of torchvision's RAFT, but its memory does not grow with the square of the frame.

    A level of the pyramid that fits in `MAX_BYTES` is stored whole. For a larger one only the second frame's features
    are stored, and correlations are computed when they are looked up, as in RAFT's `alt_cuda_corr`. The values are the
    same up to rounding, because pooling and interpolation are linear.
    """

    corr_pyramid: list[torch.Tensor | _Features]

    def pairs_at_once(self, height: int, width: int) -> int:
        """How many pairs with feature maps of this size fit in `MAX_BYTES`, at least one."""
        pixels = height * width
        return max(1, MAX_BYTES // (self._pyramid_bytes(pixels) + _NETWORK_BYTES * pixels))

    def _pyramid_bytes(self, pixels: int) -> int:
        return sum(4 * pixels * pixels // 4**level for level in range(self.num_levels))

    def build_pyramid(self, fmap1: torch.Tensor, fmap2: torch.Tensor) -> None:
        """Build the pyramid from two feature maps, ``[B, C, h, w]``."""
        self.clear()
        batch, channels, height, width = fmap1.shape
        if batch * self._pyramid_bytes(height * width) <= MAX_BYTES:
            super().build_pyramid(fmap1, fmap2)
            return
        one = fmap1.flatten(2).transpose(1, 2) / channels**0.5
        left = MAX_BYTES
        levels = [fmap2]
        for _ in range(self.num_levels - 1):
            levels.append(functional.avg_pool2d(levels[-1], kernel_size=2, stride=2))
        # Coarse levels first: they are the cheapest to store, and as expensive to compute as the others.
        for features in reversed(levels):
            rows, columns = features.shape[-2:]
            size = 4 * batch * height * width * rows * columns
            if size <= left:
                left -= size
                volume = torch.matmul(one, features.flatten(2))
                self.corr_pyramid.insert(0, volume.view(-1, 1, rows, columns))
            else:
                self.corr_pyramid.insert(0, _Features(one, features, self.radius))

    def index_pyramid(self, centroids_coords: torch.Tensor) -> torch.Tensor:
        """Look up correlations ``[B, levels * (2 r + 1)^2, h, w]`` around coordinates ``[B, 2, h, w]``, x then y."""
        if all(isinstance(level, torch.Tensor) for level in self.corr_pyramid):
            return super().index_pyramid(centroids_coords)
        batch, _, height, width = centroids_coords.shape
        pyramid, found = self.corr_pyramid, []
        centres = centroids_coords.permute(0, 2, 3, 1).reshape(batch, height * width, 2)
        for level in pyramid:
            found.append(level(centres) if isinstance(level, _Features) else _look_up(level, centres, self.radius))
            centres = centres / 2
        return torch.cat(found, dim=-1).view(batch, height, width, -1).permute(0, 3, 1, 2).contiguous()

    def clear(self) -> None:
        """Free the correlations."""
        self.corr_pyramid = []


def _look_up(volume: torch.Tensor, centres: torch.Tensor, radius: int) -> torch.Tensor:
    batch, pixels, _ = centres.shape
    steps = torch.arange(-radius, radius + 1, device=centres.device, dtype=centres.dtype)
    # The first axis of the window is x, as in RAFT's code.
    window = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    points = centres.reshape(-1, 1, 1, 2) + window
    size = torch.tensor(volume.shape[:1:-1], device=centres.device)
    sampled = functional.grid_sample(volume, 2 * points / (size - 1) - 1, align_corners=True)
    return sampled.view(batch, pixels, -1)


class _Features:
    """A level that is not stored: holds both frames' features and correlates them on demand."""

    def __init__(self, one: torch.Tensor, features: torch.Tensor, radius: int):
        self._one, self._radius = one, radius
        self._size = torch.tensor(features.shape[:1:-1], device=one.device)
        # A margin of zeros that holds every window: there is no correlation outside the frame.
        self._margin = 2 * radius + 2
        padded = functional.pad(features, (self._margin,) * 4)
        self._columns = padded.shape[-1]
        self._rows = padded.flatten(2).transpose(1, 2).contiguous()

    def __call__(self, centres: torch.Tensor) -> torch.Tensor:
        """Correlations ``[B, n, (2 r + 1)^2]`` around the points ``[B, n, 2]``."""
        channels = self._one.shape[-1]
        step = max(1, _GATHER_BYTES // (4 * channels * (2 * self._radius + 2) ** 2))
        batches = []
        for one, rows, points in zip(self._one, self._rows, centres):
            parts = zip(one.split(step), points.split(step))
            batches.append(torch.cat([self._part(rows, some, around) for some, around in parts]))
        return torch.stack(batches)

    def _part(self, rows: torch.Tensor, one: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Dot products on the surrounding 2 r + 2 whole pixels, then one bilinear interpolation for all steps."""
        base = points.floor()
        across, down = (points - base)[:, :, None, None].unbind(1)
        corner = base.clamp(torch.full_like(self._size, -self._radius - 2), self._size + self._radius)
        corner = corner.long() + self._margin - self._radius
        steps = torch.arange(2 * self._radius + 2, device=points.device)
        x, y = corner[:, :1, None] + steps[:, None], corner[:, 1:, None] + steps
        index = (y * self._columns + x).flatten(1)
        dots = torch.bmm(rows[index], one[:, :, None]).view(len(points), len(steps), len(steps))
        wide = dots[:, :-1] * (1 - across) + dots[:, 1:] * across
        return (wide[..., :-1] * (1 - down) + wide[..., 1:] * down).flatten(1)
