"""The warp error, compared with its golden case and with common mistakes."""

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from toolkit.errors import InputError
from toolkit.evaluate.flow import DisFlow
from toolkit.evaluate.warp_error import WarpError, error_where, frame_error, visible, warp
from toolkit.video.decode import read_frames

GOLDEN = (0.0003385349, 0.0028339326, 0.0028937875)


@pytest.fixture(scope="module")
def golden():
    """Edited frames ``[4, 24, 32, 3]`` in 0..1 and their original's flows in both directions."""
    t, y, x, c = np.meshgrid(np.arange(4.0), np.arange(24.0), np.arange(32.0), np.arange(3.0), indexing="ij")
    frames = 0.5 + 0.4 * np.sin(0.31 * (x - 1.5 * t) + c) * np.cos(0.23 * (y + 0.5 * t))
    frames[2] = np.clip(frames[2] + 0.05, 0, 1)
    forward = np.tile([1.5, -0.5], (24, 32, 1))
    backward = -forward
    forward[15:20, 4:9, 0] += 0.3
    backward[6:14, 10:20, 0] += 2
    return frames, forward, backward


@pytest.fixture(scope="module")
def scene():
    """A smooth texture moving by (3, -2) pixels a frame behind a fixed window; uint8 ``[6, 64, 80, 3]``."""
    texture = gaussian_filter(np.random.default_rng(0).uniform(0, 255, (120, 120, 3)), (3, 3, 0))
    texture = np.interp(texture, (texture.min(), texture.max()), (0, 255)).astype(np.uint8)
    frames = np.stack([texture[20 + 2 * t : 84 + 2 * t, 30 - 3 * t : 110 - 3 * t] for t in range(6)])
    frames[:, 20:44, 30:54] = 255 - frames[0, 20:44, 30:54]
    return frames


class Still:
    """A flow without motion that counts its calls."""

    name = "still"

    def __init__(self):
        self.calls = 0

    def __call__(self, one, other):
        self.calls += 1
        return np.zeros((*one.shape[:3], 2), np.float32)


def measured(flow, original, *edited, batch=8):
    """Values of each edited video."""
    error = WarpError(flow, batch=batch)
    values = [value for frame, *others in zip(original, *edited) for value in error.push(frame, others)]
    return [list(column) for column in zip(*(values + error.finish()))]


def pairs(frames):
    return itertools.pairwise(frames)


# the formula


def test_golden_case(golden):
    frames, forward, backward = golden
    assert (~visible(forward, backward)).sum() == 114
    errors = [frame_error(now, following, forward, backward) for now, following in pairs(frames)]
    assert errors == pytest.approx(GOLDEN, abs=1e-9, rel=0)
    assert np.mean(errors) == pytest.approx(0.0020220850, abs=1e-9, rel=0)


def test_golden_case_in_two_steps(golden):
    frames, forward, backward = golden
    where = visible(forward, backward)
    errors = [error_where(now, following, forward, where) for now, following in pairs(frames)]
    assert errors == [frame_error(now, following, forward, backward) for now, following in pairs(frames)]


def test_division_by_all_pixels_is_another_number(golden):
    frames, forward, backward = golden
    where = visible(forward, backward)
    for (now, following), value in zip(pairs(frames), GOLDEN):
        total = ((warp(following, forward) - now)[where] ** 2).sum()
        assert total / where.sum() == pytest.approx(3 * value, rel=1e-6)
        assert total / where.size != pytest.approx(value, rel=0.1)


def test_the_wrong_way_is_another_number(golden):
    frames, forward, backward = golden
    where = visible(forward, backward)
    for (now, following), value in zip(pairs(frames), GOLDEN):
        for wrong in (
            error_where(following, now, forward, where),
            error_where(now, following, backward, where),
            frame_error(now, following, backward, forward),
        ):
            assert wrong != pytest.approx(value, rel=0.1)


def test_the_error_is_zero_where_no_pixel_is_visible():
    """The reference divides the sum over visible pixels, here 0, by the number of all pixels."""
    rng = np.random.default_rng(0)
    now, following = rng.uniform(size=(2, 5, 7, 3))
    forward = np.full((5, 7, 2), 1.0)
    assert not visible(forward, forward).any()
    assert frame_error(now, following, forward, forward) == 0


def test_visible_by_hand():
    still = np.zeros((5, 6, 2))
    assert visible(still, still).all()
    # Forward and backward flow do not cancel: 1 > 0.01 * 1 + 0.5, and 0.64 > 0.01 * 0.64 + 0.5, but not 0.49.
    for length, expected in ((1.0, False), (0.8, False), (0.7, True)):
        there = np.full((5, 6, 2), (length, 0.0))
        assert visible(there, still).all() == expected == visible(there, still).any()
    # A step of 0.1 is a motion boundary (0.01 > 0.002) at the pixel before it; one of 0.04 is not (0.0016).
    for step, hidden in ((0.1, [2]), (0.04, [])):
        there = still.copy()
        there[:, 3:, 1] = step
        assert np.flatnonzero(~visible(there, -there)[0]).tolist() == hidden
        turned = np.ascontiguousarray(there.transpose(1, 0, 2))
        assert np.flatnonzero(~visible(turned, -turned)[:, 0]).tolist() == hidden


def test_frames_of_bytes_are_scaled():
    now, following = np.random.default_rng(1).integers(0, 256, (2, 9, 8, 3), dtype=np.uint8)
    still = np.zeros((9, 8, 2), np.float32)
    assert frame_error(now, following, still, still) == pytest.approx(
        frame_error(now / 255, following / 255, still, still), rel=1e-12
    )
    with pytest.raises(ValueError, match=r"uint8, or floats in 0\.\.1, found int64"):
        frame_error(now.astype(np.int64), following.astype(np.int64), still, still)


# the warp


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 23)])
def test_warp_is_bilinear_and_clamped(size):
    rng = np.random.default_rng(2)
    image, flow = rng.uniform(size=(*size, 3)), rng.normal(0, 5, (*size, 2))
    y, x = np.indices(size)
    places = [y + flow[..., 1], x + flow[..., 0]]
    expected = [map_coordinates(image[..., c], places, order=1, mode="nearest") for c in range(3)]
    np.testing.assert_allclose(warp(image, flow), np.stack(expected, axis=-1), atol=1e-12)


def test_warp_agrees_with_grid_sample():
    rng = np.random.default_rng(3)
    image, flow = rng.uniform(size=(17, 23, 3)).astype(np.float32), rng.normal(0, 4, (17, 23, 2)).astype(np.float32)
    y, x = np.indices((17, 23), np.float32)
    grid = np.stack([(x + flow[..., 0]) / 11 - 1, (y + flow[..., 1]) / 8 - 1], axis=-1)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    sampled = torch.nn.functional.grid_sample(
        planes, torch.from_numpy(grid)[None], padding_mode="border", align_corners=True
    )
    np.testing.assert_allclose(warp(image, flow), sampled[0].permute(1, 2, 0), atol=2e-5)


def test_warp_by_whole_pixels():
    image = np.random.default_rng(4).uniform(size=(8, 9, 2))
    moved = warp(image, np.tile([2, -3], (8, 9, 1)))
    np.testing.assert_allclose(moved[3:, :7], image[:5, 2:], atol=1e-12)
    np.testing.assert_allclose(moved[:3, :7], np.tile(image[0, 2:], (3, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_flow_is_refused(bad):
    flow = np.zeros((4, 4, 2))
    flow[1, 2, 0] = bad
    with pytest.raises(ValueError, match="finite"):
        warp(np.zeros((4, 4, 3)), flow)


# the stream


def test_static_videos_have_none():
    frame = np.random.default_rng(5).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    (values,) = measured(DisFlow(), [frame] * 5, [frame] * 5)
    assert len(values) == 4 and max(values) < 1e-20


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
def test_stream_is_the_formula(scene, batch):
    edited = np.random.default_rng(6).integers(0, 256, scene.shape, dtype=np.uint8)
    flow = DisFlow()
    there, back = flow(scene[:-1], scene[1:]), flow(scene[1:], scene[:-1])
    assert all(0.3 < visible(*flows).mean() < 0.95 for flows in zip(there, back))
    expected = [frame_error(edited[k] / 255, edited[k + 1] / 255, there[k], back[k]) for k in range(5)]
    assert measured(DisFlow(), scene, edited, batch=batch) == [expected]


def test_several_edited_videos_share_the_flow(scene):
    rng = np.random.default_rng(7)
    edited = [rng.integers(0, 256, scene.shape, dtype=np.uint8) for _ in range(3)]
    flow = Still()
    together = measured(flow, scene, *edited)
    assert flow.calls == 2
    assert together == [measured(Still(), scene, video)[0] for video in edited]


def test_values_come_as_batches_fill(scene):
    error = WarpError(DisFlow(), batch=2)
    counts = [len(error.push(frame, [frame])) for frame in scene]
    assert counts == [0, 0, 2, 0, 2, 0] and len(error.finish()) == 1


def test_flow_is_of_the_original_and_not_of_the_edit(scene):
    # The edit is still while its original moves: along its own motion its error would be 0.
    edited = np.repeat(scene[:1], len(scene), axis=0)
    (right,), (wrong,) = measured(DisFlow(), scene, edited), measured(DisFlow(), edited, edited)
    assert max(wrong) < 1e-20 and min(right) > 1e-4
    assert measured(DisFlow(), scene, scene)[0] < right


def test_flickering_is_found(scene):
    flicker = np.where(np.arange(len(scene))[:, None, None, None] % 2, scene, np.minimum(scene, 235) + 20)
    faithful, shaky = measured(DisFlow(), scene, scene, flicker.astype(np.uint8))
    assert np.mean(shaky) > 5 * np.mean(faithful)
    assert np.mean(shaky) == pytest.approx((20 / 255) ** 2, rel=0.3)


def test_frames_may_be_overwritten_by_the_caller(scene):
    buffer, error, values = np.empty_like(scene[0]), WarpError(DisFlow()), []
    for frame in scene:
        buffer[:] = frame
        values += error.push(buffer, [buffer])
    values += error.finish()
    assert [list(column) for column in zip(*values)] == measured(DisFlow(), scene, scene)


def test_one_frame_has_no_value(scene):
    error = WarpError(DisFlow())
    assert error.push(scene[0], [scene[0]]) == [] and error.finish() == []
    assert error.finish() == []


def test_next_video_begins_anew(scene):
    error = WarpError(DisFlow(), batch=3)
    for frame in scene:
        error.push(frame, [frame])
    error.finish()
    small = scene[:3, :30, :40]
    values = [value for frame in small for value in error.push(frame, [frame, frame])] + error.finish()
    assert len(values) == 2 and [row[0] for row in values] == measured(DisFlow(), small, small)[0]


def test_video_that_ends_early_leaves_the_others(scene):
    error = WarpError(DisFlow(), batch=2)
    rows = [row for k, frame in enumerate(scene) for row in error.push(frame, [frame, frame if k < 3 else None])]
    rows += error.finish()
    (expected,) = measured(DisFlow(), scene, scene, batch=2)
    assert [row[0] for row in rows] == expected
    assert [row[1] for row in rows] == [*expected[:2], None, None, None]


def test_other_sizes_are_refused(scene):
    error = WarpError(DisFlow())
    with pytest.raises(InputError, match=r"original's size, 80x64, found 40x64; resize the edited video"):
        error.push(scene[0], [scene[0][:, :40]])
    error.push(scene[0], [scene[0]])
    with pytest.raises(InputError, match=r"one size in the original, found 80x64 and 80x32"):
        error.push(scene[1][:32], [scene[1][:32]])
    with pytest.raises(ValueError, match="1 edited videos, found 2"):
        error.push(scene[1], [scene[1]] * 2)
    with pytest.raises(ValueError, match="uint8"):
        error.push(scene[1] / 255, [scene[1]])
    assert error.push(scene[1], [scene[1]]) == [] and len(error.finish()) == 1


def test_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        WarpError(DisFlow(), batch=0)


def test_real_video(shared):
    path = shared("media/faces/liveportrait_driving_d0.mp4")
    frames = np.stack([frame.image for frame in read_frames(path, 12, 24, max_side=256)])
    rng = np.random.default_rng(8)
    noisy = np.clip(frames + rng.normal(0, 8, frames.shape), 0, 255).astype(np.uint8)
    late = np.concatenate([frames[:1], frames[:-1]])
    values = measured(DisFlow(), frames, frames, noisy, late, frames[::-1])
    plain, flickering, delayed, backwards = map(np.mean, values)
    assert 0 < plain < delayed < backwards
    assert plain + (8 / 255) ** 2 < flickering < plain + 2.2 * (8 / 255) ** 2
