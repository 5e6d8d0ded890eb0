"""Means over videos and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.evaluate.results import Column, MethodResult, VideoResult
from toolkit.evaluate.statistics import mean_over_videos, means

INF = math.inf
COLUMNS = [Column(name=name, label=name, description="") for name in ("dG", "identity")]


def method(name, *values):
    videos = [VideoResult(name=f"{number}.mp4", values=found) for number, found in enumerate(values)]
    return MethodResult(name=name, videos=videos)


def test_two_videos_reach_from_one_to_the_other():
    mean = mean_over_videos([0.2, 0.6])
    assert (mean.value, mean.low, mean.high, mean.videos) == (pytest.approx(0.4), 0.2, 0.6, 2)


def test_what_could_not_be_measured_is_left_out_and_not_counted():
    assert mean_over_videos([1.0, None, 3.0, math.nan]) == mean_over_videos([1.0, 3.0])
    assert mean_over_videos([1.0, None, 3.0, math.nan]).videos == 2


@pytest.mark.parametrize(("values", "value", "videos"), [([], None, 0), ([None, math.nan], None, 0), ([5.0], 5.0, 1)])
def test_below_two_videos_there_is_no_interval(values, value, videos):
    mean = mean_over_videos(values)
    assert (mean.value, mean.low, mean.high, mean.videos) == (value, None, None, videos)


def test_equal_videos_have_an_interval_of_no_width():
    mean = mean_over_videos([0.3] * 7)
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.3, 0.3, 0.3))


class TestInfinities:
    def test_all(self):
        mean = mean_over_videos([INF] * 5)
        assert (mean.value, mean.low, mean.high) == (INF, INF, INF)

    def test_one_of_twelve_leaves_a_finite_lower_end(self):
        values = [30.0 + k for k in range(11)]
        mean = mean_over_videos([*values, INF])
        assert mean.value == mean.high == INF
        assert 30 < mean.low < np.mean(values)

    def test_negative_ones_are_below(self):
        mean = mean_over_videos([1.0, 2.0, 3.0, 4.0, 5.0, -INF])
        assert mean.value == mean.low == -INF and math.isfinite(mean.high)

    def test_of_both_signs_there_is_no_mean(self):
        mean = mean_over_videos([INF, 1.0, -INF])
        assert (mean.value, mean.low, mean.high, mean.videos) == (None, None, None, 3)


VALUES = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, width=32)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_an_interval_holds_its_mean_whatever_the_values(values):
    mean = mean_over_videos(values)
    for number in (mean.value, mean.low, mean.high):
        assert number is None or not math.isnan(number)
    if mean.low is not None:
        tolerance = 1e-9 * max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0)
        assert mean.low <= mean.high
        assert mean.low == -INF or mean.low - tolerance <= mean.value
        assert mean.high == INF or mean.value <= mean.high + tolerance


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12), st.randoms())
def test_the_order_of_videos_changes_nothing(values, random):
    other = list(values)
    random.shuffle(other)
    assert mean_over_videos(values) == mean_over_videos(other)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-100, 100), min_size=3, max_size=12), st.integers(1, 50))
def test_intervals_move_and_stretch_with_the_values(values, factor):
    mean, other = mean_over_videos(values), mean_over_videos([factor * value + 7 for value in values])
    assert (other.low, other.high) == pytest.approx((factor * mean.low + 7, factor * mean.high + 7))


@pytest.mark.parametrize(
    ("draw", "true", "least"),
    [
        (lambda rng: rng.normal(3, 2, 12), 3.0, 0.90),
        (lambda rng: rng.uniform(0, 1, 12), 0.5, 0.90),
        (lambda rng: rng.exponential(1, 12), 1.0, 0.85),
        (lambda rng: rng.normal(3, 2, 4), 3.0, 0.83),
    ],
    ids=["normal", "uniform", "exponential", "four videos"],
)
def test_intervals_cover_the_true_mean(draw, true, least):
    rng = np.random.default_rng(0)
    found = [mean_over_videos(draw(rng)) for _ in range(200)]
    covered = np.mean([mean.low <= true <= mean.high for mean in found])
    assert least <= covered <= 0.99


def test_more_videos_give_narrower_intervals():
    rng = np.random.default_rng(1)
    few, many = (mean_over_videos(rng.normal(0, 1, count)) for count in (8, 200))
    assert many.high - many.low < (few.high - few.low) / 2


class TestMeans:
    ours = method("ours", {"dG": 0.02, "identity": 0.9}, {"dG": 0.04, "identity": None}, {"dG": 0.09})

    def test_by_hand(self):
        found = means([self.ours], COLUMNS)["ours"]
        assert found["dG"].value == pytest.approx(0.05) and found["dG"].videos == 3
        assert found["identity"].value == pytest.approx(0.9) and found["identity"].videos == 1

    def test_failed_videos_do_not_count(self):
        failed = VideoResult(name="x.mp4", values={"dG": 100.0}, failed="it is damaged")
        with_failed = MethodResult(name="ours", videos=[*self.ours.videos, failed])
        assert means([with_failed], COLUMNS) == means([self.ours], COLUMNS)

    def test_other_methods_change_nothing(self):
        theirs = method("theirs", {"dG": 1.0}, {"dG": 2.0})
        alone, first, last = (
            means(listed, COLUMNS) for listed in ([self.ours], [self.ours, theirs], [theirs, self.ours])
        )
        assert alone["ours"] == first["ours"] == last["ours"]

    def test_the_same_videos_under_two_names_have_the_same_interval(self):
        found = means([self.ours, MethodResult(name="copy", videos=self.ours.videos)], COLUMNS)
        assert found["ours"] == found["copy"]
