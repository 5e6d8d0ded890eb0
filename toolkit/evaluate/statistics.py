"""Computes means over videos with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.evaluate.results import Column, Mean, MethodResult
from toolkit.seeds import generator

RESAMPLES = 10_000
LEVEL = 0.95


def mean_over_videos(values: Sequence[float | None]) -> Mean:
    """Compute the mean and a 95 % interval by bootstrap over videos (Efron, 1979).

    The percentiles are Hesterberg's expanded ones (2015, "What Teachers Should Know About the Bootstrap", section
    5.2.2), because plain percentiles are too narrow for few videos. The same values give the same interval in any
    order and under any name.

    Args:
        values: one for each video, possibly infinite; None or NaN if it could not be measured.

    Returns:
        The mean has no interval if fewer than two videos were measured. It has no value either if none was, or if the
        values include both infinities.
    """
    found = np.sort([value for value in values if value is not None and not math.isnan(value)])
    if not len(found) or (np.isposinf(found).any() and np.isneginf(found).any()):
        return Mean(value=None, videos=len(found))
    if len(found) == 1:
        return Mean(value=float(found[0]), videos=1)
    drawn = generator("bootstrap", len(found)).integers(0, len(found), (RESAMPLES, len(found)))
    # "nearest" returns a mean that was drawn; interpolating between infinite means would give NaN.
    low, high = np.quantile(found[drawn].mean(axis=1), _quantiles(len(found)), method="nearest")
    return Mean(value=float(found.mean()), low=float(low), high=float(high), videos=len(found))


def _quantiles(count: int) -> tuple[float, float]:
    """Quantiles of the resampled means that make the interval as wide as Student's for normal values."""
    from scipy.special import ndtr, stdtrit  # scipy.stats has both, and takes a second to import

    outside = ndtr(math.sqrt(count / (count - 1)) * stdtrit(count - 1, (1 - LEVEL) / 2))
    return float(outside), float(1 - outside)


def means(methods: Sequence[MethodResult], columns: Sequence[Column]) -> dict[str, dict[str, Mean]]:
    """Method -> column -> mean over the videos that could be measured."""
    return {
        method.name: {
            column.name: mean_over_videos(
                [video.values.get(column.name) for video in method.videos if video.failed is None]
            )
            for column in columns
        }
        for method in methods
    }
