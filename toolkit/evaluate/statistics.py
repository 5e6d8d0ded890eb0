"""Means over videos, with intervals that say how far other videos might have moved them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.evaluate.results import Column, Mean, MethodResult
from toolkit.seeds import generator

RESAMPLES = 2000
LEVELS = (2.5, 97.5)
"""Percentiles of the bootstrap that bound the 95 % interval."""


def mean_over_videos(values: Sequence[float | None], *names: str) -> Mean:
    """The mean, and a percentile bootstrap over videos (Efron, 1979).

    Args:
        values: one for each video; None where it could not be measured.
        names: what the resampling's seed is made of, such as method and column.
    """
    found = np.array([value for value in values if value is not None and not np.isnan(value)], np.float64)
    if not len(found):
        return Mean(value=None, videos=0)
    if len(found) < 2:
        return Mean(value=float(found[0]), videos=1)
    drawn = generator("bootstrap", *names).integers(0, len(found), (RESAMPLES, len(found)))
    with np.errstate(invalid="ignore"):
        low, high = np.percentile(found[drawn].mean(axis=1), LEVELS, method="nearest")
    return Mean(value=float(found.mean()), low=float(low), high=float(high), videos=len(found))


def means(methods: Sequence[MethodResult], columns: Sequence[Column]) -> dict[str, dict[str, Mean]]:
    """Method -> column -> mean over the videos that could be measured."""
    return {
        method.name: {
            column.name: mean_over_videos(
                [video.values.get(column.name) for video in method.videos if video.failed is None],
                method.name,
                column.name,
            )
            for column in columns
        }
        for method in methods
    }
