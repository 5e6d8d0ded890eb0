"""Splitting a clip into windows, and blending them."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolkit.diffusion.context_windows import WindowBlender, context_windows, window_weights
from toolkit.errors import UsageError


def test_the_papers_windows():
    assert context_windows(16) == [(0, 16)]
    assert context_windows(5) == [(0, 5)]
    assert context_windows(40) == [(0, 16), (12, 28), (24, 40)]
    assert context_windows(33) == [(0, 16), (8, 24), (17, 33)]
    assert context_windows(41) == [(0, 16), (12, 28), (25, 41)]  # rather 3 shared frames once than a window more
    assert len(context_windows(128)) == 10
    assert context_windows(17) == [(0, 16), (1, 17)]
    assert context_windows(40, cuts=[20]) == [(0, 16), (4, 20), (20, 36), (24, 40)]
    assert window_weights(5).tolist() == [1, 2, 3, 2, 1]


@pytest.mark.parametrize("values", [(0, 16, 4), (10, 0, 0), (10, 4, 4), (10, 4, -1)])
def test_impossible_windows_are_refused(values):
    with pytest.raises(UsageError, match="expected at least one frame"):
        context_windows(*values)


CLIPS = st.tuples(st.integers(1, 90), st.integers(1, 20), st.integers(0, 19), st.lists(st.integers(-3, 95), max_size=4))


@given(CLIPS)
def test_cover_everything_without_crossing_a_cut(clip):
    length, context, overlap, cuts = clip
    overlap = min(overlap, context - 1)
    windows = context_windows(length, context, overlap, cuts)
    assert {frame for start, stop in windows for frame in range(start, stop)} == set(range(length))
    assert all(stop - start <= context for start, stop in windows)
    assert windows == sorted(set(windows))
    for cut in cuts:
        if 0 < cut < length:
            assert not any(start < cut < stop for start, stop in windows)


@given(CLIPS)
def test_neighbours_share_about_the_requested_overlap(clip):
    length, context, overlap, _ = clip
    overlap = min(overlap, context - 1)
    windows = context_windows(length, context, overlap)
    shared = [stop - start for (_, stop), (start, _) in pairwise(windows)]
    assert all(2 * frames >= overlap for frames in shared)
    assert not shared or max(shared) - min(shared) <= 1


@given(CLIPS)
def test_streamed_blending_is_the_weighted_mean(clip):
    length, context, overlap, cuts = clip
    windows = context_windows(length, context, min(overlap, context - 1), cuts)
    torch.manual_seed(0)
    said = [torch.rand(stop - start, 2, 3) for start, stop in windows]
    total, weights = torch.zeros(length, 2, 3), torch.zeros(length, 1, 1)
    for (start, stop), values in zip(windows, said):
        total[start:stop] += values * window_weights(stop - start)[:, None, None]
        weights[start:stop] += window_weights(stop - start)[:, None, None]
    blender, seen = WindowBlender(windows), []
    for window, values in zip(windows, said):
        for first, part in blender.add(window, values):
            assert first == sum(map(len, seen))
            seen.append(part)
        assert len(blender._sum) <= context
    assert torch.allclose(torch.cat(seen), total / weights, atol=1e-6)


def test_values_that_all_windows_share_are_kept():
    windows = context_windows(50)
    blender, truth = WindowBlender(windows), torch.rand(50, 4)
    seen = [part for window in windows for _, part in blender.add(window, truth[slice(*window)])]
    assert torch.allclose(torch.cat(seen), truth)


def test_windows_out_of_order_are_refused():
    blender = WindowBlender(context_windows(40))
    with pytest.raises(ValueError, match="expected the next window"):
        list(blender.add((12, 28), torch.zeros(16, 1)))
