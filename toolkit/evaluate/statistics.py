"""Means over videos, with intervals that say how far other videos might have moved them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolkit.evaluate.results import Column, Mean, MethodResult
from toolkit.seeds import generator

RESAMPLES = 10_000
LEVEL = 0.95


def mean_over_videos(values: Sequence[float | None]) -> Mean:
    """The mean, and a 95 % interval by bootstrap over videos (Efron, 1979).

    The percentiles are the expanded ones of Hesterberg (2015, "What Teachers Should Know About the Bootstrap", section
    5.2.2), as plain ones are too narrow for few videos. The same values give the same interval in any order and under
    any name.

    Args:
        values: one for each video, perhaps infinite; None or NaN where it could not be measured.

    Returns:
        Without an interval where fewer than two videos were measured. Without a value too where none was, or where
        both infinities are among them, so that there is no mean.
    """
    found = np.sort([value for value in values if value is not None and not math.isnan(value)])
    if not len(found) or (np.isposinf(found).any() and np.isneginf(found).any()):
        return Mean(value=None, videos=len(found))
    if len(found) == 1:
        return Mean(value=float(found[0]), videos=1)
    drawn = generator("bootstrap", len(found)).integers(0, len(found), (RESAMPLES, len(found)))
    # "nearest" takes means that were drawn; interpolation between infinite ones would give no number.
    low, high = np.quantile(found[drawn].mean(axis=1), _quantiles(len(found)), method="nearest")
    return Mean(value=float(found.mean()), low=float(low), high=float(high), videos=len(found))


def _quantiles(count: int) -> tuple[float, float]:
    """Of the resampled means: such that the interval is as wide as Student's where the values are normal."""
    from scipy import stats

    outside = stats.norm.cdf(math.sqrt(count / (count - 1)) * stats.t.ppf((1 - LEVEL) / 2, count - 1))
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
