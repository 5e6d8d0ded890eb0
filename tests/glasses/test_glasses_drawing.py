"""Glasses drawn on clips: where they are seen, what they let through, and that nothing else changes."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from attributes.glasses.camera import measured_blur, measured_noise
from attributes.glasses.design import GlassesDesign, LensDesign, SurfaceDesign, random_design
from attributes.glasses.drawing import DrawnGlasses, GlassesDrawer
from attributes.glasses.lenses import Lens
from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip
from toolkit.testing.clips import synthetic_clip

TOPOLOGY = load_topology("mediapipe478")
BLACK = SurfaceDesign(kind="plastic", colour=(0.02, 0.02, 0.02))
CLEAR = LensDesign(transmission_top=1, transmission_bottom=1, reflectance=0, power=0)


@pytest.fixture(scope="module")
def drawer():
    return GlassesDrawer()


def turned_clip(yaws, size=256, centre=(0.5, 0.5), scale=0.3, pitch=0.0, roll=0.0):
    """Heads of plain skin before a plain wall, turned by `yaws` degrees (positive: towards the picture's left)."""
    turns = Rotation.from_euler("yxz", [(yaw, pitch, roll) for yaw in yaws], degrees=True).as_matrix()
    points = np.einsum("tij,nj->tni", turns, TOPOLOGY.mean) * (scale * size) + [centre[0] * size, centre[1] * size, 0]
    rng = np.random.default_rng(0)
    frames = np.clip(170 + rng.normal(0, 4, (len(yaws), size, size, 3)), 0, 255).astype(np.uint8)
    return FaceClip(frames, points.astype(np.float32), TOPOLOGY, np.arange(len(yaws)) / 25)


def draw(drawer, clip, design, seed=0) -> DrawnGlasses:
    return drawer.draw(clip, design, np.random.default_rng(seed))


def test_shapes_ranges_and_the_input_stays(drawer):
    clip = synthetic_clip(4, 160)
    before = clip.frames.copy()
    drawn = draw(drawer, clip, GlassesDesign())
    np.testing.assert_array_equal(clip.frames, before)
    assert drawn.frames.shape == clip.frames.shape and drawn.frames.dtype == np.uint8
    for plane in (drawn.rim, drawn.lens, drawn.opacity, drawn.reflection):
        assert plane.shape == clip.frames.shape[:3] and plane.dtype == np.float32
        assert plane.min() >= 0 and plane.max() <= 1
    assert drawn.rim.max() > 0.9 and drawn.lens.max() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_is_exactly_where_frames_differ(drawer, seed):
    clip = synthetic_clip(3, 160, seed=seed)
    rng = np.random.default_rng(seed)
    drawn = drawer.draw(clip, random_design(rng), rng)
    np.testing.assert_array_equal(drawn.mask, (drawn.frames != clip.frames).any(axis=-1))
    assert drawn.mask.any(axis=(1, 2)).all()


def test_the_same_seed_gives_the_same_frames(drawer):
    clip = synthetic_clip(3, 128)
    design = random_design(np.random.default_rng(4))
    one, same, other = (
        draw(drawer, clip, design, 5),
        draw(GlassesDrawer(), clip, design, 5),
        draw(drawer, clip, design, 6),
    )
    np.testing.assert_array_equal(one.frames, same.frames)
    np.testing.assert_array_equal(one.reflection, same.reflection)
    assert (one.frames != other.frames).any()


def test_lenses_cover_the_eyes_of_the_sample(drawer):
    from toolkit.testing.sample import sample_clip

    clip = sample_clip(6)
    drawn = draw(drawer, clip, GlassesDesign(front=BLACK, temples=BLACK))
    for t in range(len(clip)):
        x, y = np.rint(clip.landmarks[t, [468, 473], :2]).astype(int).T
        assert (drawn.lens[t, y, x] > 0.9).all()
        assert (drawn.rim[t, y, x] < 0.1).all()
        nose_x, nose_y = np.rint(clip.landmarks[t, 1, :2]).astype(int)
        assert not drawn.rim[t, nose_y, nose_x]
    dark = drawn.rim > 0.95
    assert drawn.frames[dark].mean() < clip.frames[dark].mean() - 40


def test_the_far_temple_is_hidden_and_the_near_one_seen(drawer):
    design = GlassesDesign(front=BLACK, temples=BLACK, temple_height=6)
    clip = turned_clip([-40, 40])
    drawn = draw(drawer, clip, design)
    for t in range(2):
        ears = clip.landmarks[t, [127, 356]]
        near, far = (0, 1) if ears[0, 2] < ears[1, 2] else (1, 0)

        def temple(side, t=t):
            start, end = clip.landmarks[t, [(226, 127), (446, 356)][side], :2]
            path = start + np.linspace(0.5, 0.85, 20)[:, None] * (end - start)
            x, y = np.rint(path).astype(int).T
            return np.stack([drawn.rim[t, np.clip(y + d, 0, 255), x] for d in range(-16, 10)]).max()

        assert temple(near) > 0.9
        # The whole far temple lies behind the face; only the rim may stand out past the outline.
        inside = clip.landmarks[t, 6, 0], clip.landmarks[t, [226, 446][far], 0]
        columns = np.arange(256)
        behind = (columns > min(inside) + 8) & (columns < max(inside) - 8)
        below = int(clip.landmarks[t, 4, 1])
        assert drawn.rim[t, below + 5 :][:, behind].max() == 0


def test_a_still_head_keeps_still_glasses(drawer):
    clip = turned_clip([10] * 4)
    drawn = draw(drawer, clip, GlassesDesign())
    for t in range(1, 4):
        np.testing.assert_allclose(drawn.rim[t], drawn.rim[0], atol=0.02)


def test_glasses_move_with_the_head(drawer):
    clip = turned_clip([0] * 3)
    moved = clip.landmarks + np.float32([12, -7, 0])
    there = FaceClip(clip.frames, moved, TOPOLOGY, clip.times)
    a, b = (draw(drawer, c, GlassesDesign()).rim[1] for c in (clip, there))
    np.testing.assert_allclose(np.roll(a, (-7, 12), axis=(0, 1))[20:-20, 20:-20], b[20:-20, 20:-20], atol=0.05)


def test_reflections_move_over_the_lens_when_the_head_turns(drawer):
    design = GlassesDesign(front=BLACK, lens=LensDesign(mirror=0.5))
    still, turning = turned_clip([0] * 6), turned_clip(np.linspace(-12, 12, 6))

    def change(clip):
        r = draw(drawer, clip, design, 2).reflection
        x, y = np.rint(clip.landmarks[:, 473, :2]).astype(int).T
        eyes = np.stack([r[t, y[t] - 10 : y[t] + 10, x[t] - 12 : x[t] + 12] for t in range(len(clip))])
        return np.abs(np.diff(eyes, axis=0)).mean()

    assert change(turning) > 2.5 * change(still)


def test_a_clear_uncoated_lens_changes_next_to_nothing(drawer):
    clip = turned_clip([0] * 3)
    design = GlassesDesign(front=BLACK, temples=BLACK, lens=CLEAR)
    drawn = draw(drawer, clip, design)
    inside = (drawn.lens > 0.999) & (drawn.rim == 0)
    assert inside.sum() > 1000
    changed = np.abs(drawn.frames.astype(int) - clip.frames)[inside]
    assert np.median(changed) < 10  # the frame's shadow
    assert np.percentile(changed, 5) <= 2
    assert drawn.opacity[inside].max() < 0.01 and drawn.reflection[inside].max() < 0.01


def test_dark_lenses_hide_and_report_it(drawer):
    clip = turned_clip([0] * 3)
    lens = LensDesign(transmission_top=0.05, transmission_bottom=0.5, reflectance=0.1)
    drawn = draw(drawer, clip, GlassesDesign(front=BLACK, temples=BLACK, lens=lens, lens_height=44, style="square"))
    inside = (drawn.lens[0] > 0.99) & (drawn.rim[0] == 0)
    rows = np.flatnonzero(inside.any(axis=1))
    top, bottom = (drawn.opacity[0, r][inside[r]].mean() for r in (rows[3], rows[-4]))
    assert top > 0.85 and 0.4 < bottom < 0.75
    light, dark = clip.frames[0][inside].mean(), drawn.frames[0][inside].mean()
    assert dark < 0.85 * light


@pytest.mark.parametrize("power", [-6.0, 4.0])
def test_minus_lenses_make_the_eye_smaller_and_plus_lenses_larger(drawer, power):
    clip = turned_clip([0] * 2, size=512)
    eye = clip.landmarks[0, 473, :2]
    y, x = np.mgrid[:512, :512] + 0.5
    frames = clip.frames.copy()
    frames[:, np.hypot(x - eye[0], y - eye[1]) < 22] = 20
    clip = FaceClip(frames, clip.landmarks, TOPOLOGY, clip.times)
    lens = CLEAR.model_copy(update={"power": power})
    drawn = draw(drawer, clip, GlassesDesign(lens=lens, lens_height=44, style="square"))
    part = np.s_[0, int(eye[1]) - 28 : int(eye[1]) + 28, int(eye[0]) - 28 : int(eye[0]) + 28]
    before, after = ((f[part][..., 1] < 90).sum() for f in (clip.frames, drawn.frames))
    assert (after - before) * power > 0
    assert 0.05 < abs(after / before - 1) < 0.5


def test_a_front_that_fades_is_dark_above_and_light_below(drawer):
    clip = turned_clip([0] * 2)
    faded = SurfaceDesign(colour=(0.9, 0.9, 0.9), second_colour=(0.02, 0.02, 0.02), pattern="fade")
    drawn = draw(drawer, clip, GlassesDesign(front=faded, temples=BLACK, lens=CLEAR))
    rim = drawn.rim[0] > 0.95
    rows = np.flatnonzero((drawn.lens[0] > 0.9).any(axis=1))
    above, below = (drawn.frames[0][part][rim[part]].mean() for part in (np.s_[: rows[0]], np.s_[rows[-1] :]))
    assert above < 80 < below - 40


def test_smudges_lighten_lenses_unevenly(drawer):
    clip = turned_clip([0] * 2)
    clean, dirty = (
        draw(drawer, clip, GlassesDesign(front=BLACK, lens=CLEAR.model_copy(update={"haze": haze})))
        for haze in (0.0, 0.1)
    )
    inside = (clean.lens[0] > 0.99) & (clean.rim[0] == 0)
    added = dirty.frames[0][inside].mean(axis=-1) - clean.frames[0][inside].mean(axis=-1)
    assert added.min() >= 0 and added.max() > 8 and added.std() > 1.5


def test_the_edge_of_a_lens_without_a_rim_counts_as_rim(drawer):
    clip = turned_clip([0] * 2, size=512)
    x, y = np.rint(clip.landmarks[0, 473, :2]).astype(int)
    for rim in ("rimless", "half"):
        drawn = draw(drawer, clip, GlassesDesign(rim=rim, lens=CLEAR, front=BLACK, nose_pads=True))
        below = drawn.rim[0, y:, x - 10 : x + 10]
        assert (below.max(axis=0) > 0.4).all() and np.median(below) == 0, rim


def test_refraction_follows_prentice():
    one = np.ones(3, np.float32)
    lens = Lens(one, (1, 1), 0, one, 0, power=-5.0)
    # 20 mm from the middle a lens of -5 dioptres turns light by 0.1 rad: 1 mm over 10 mm, outwards.
    np.testing.assert_allclose(lens.shift(np.float32([[20, 0]]), np.float32([10])), [[1, 0]], atol=1e-6)


@pytest.mark.parametrize("centre", [(0.05, 0.5), (0.97, 0.4), (0.5, 0.12), (0.5, 1.05), (-3, -3)])
def test_glasses_at_the_border_and_beyond(drawer, centre):
    clip = turned_clip([0, 10], size=128, centre=centre)
    drawn = draw(drawer, clip, GlassesDesign())
    np.testing.assert_array_equal(drawn.mask, (drawn.frames != clip.frames).any(axis=-1))
    assert drawn.mask.any() == (centre[0] > -1)


def test_tiny_faces_get_glasses(drawer):
    drawn = draw(drawer, turned_clip([0, 5], size=64, scale=0.12), GlassesDesign(front=BLACK, temples=BLACK))
    assert 10 < drawn.mask[0].sum() < 1500


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    yaw=st.floats(-100, 100),
    pitch=st.floats(-80, 80),
    roll=st.floats(-180, 180),
    scale=st.floats(0.02, 0.9),
    seed=st.integers(0, 10**6),
)
def test_no_pose_breaks_it(yaw, pitch, roll, scale, seed):
    clip = turned_clip([yaw, yaw + 7], size=96, scale=scale, pitch=pitch, roll=roll)
    rng = np.random.default_rng(seed)
    drawn = GlassesDrawer().draw(clip, random_design(rng, 0.3), rng)
    np.testing.assert_array_equal(drawn.mask, (drawn.frames != clip.frames).any(axis=-1))
    assert np.isfinite(drawn.reflection).all() and drawn.rim.max() <= 1


@pytest.mark.parametrize("sigma", [0.8, 1.5, 2.5])
def test_blur_of_a_picture_is_measured(sigma):
    import cv2

    sharp = np.kron(np.random.default_rng(0).integers(40, 220, (16, 16)), np.ones((16, 16))).astype(np.float32)
    picture = np.repeat(cv2.GaussianBlur(sharp, (0, 0), sigma)[..., None], 3, axis=2).astype(np.uint8)
    assert measured_blur(picture) == pytest.approx(sigma, rel=0.35)


def test_noise_of_a_picture_is_measured():
    noise = np.random.default_rng(0).normal(128, 5, (256, 256))
    picture = np.repeat(np.rint(noise)[..., None], 3, axis=2).astype(np.uint8)
    assert measured_noise(picture) == pytest.approx(5, rel=0.1)


def test_glasses_on_a_blurred_picture_are_blurred(drawer):
    import cv2

    clip = synthetic_clip(2, 256)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 2.5) for frame in clip.frames])
    soft = FaceClip(soft, clip.landmarks, TOPOLOGY, clip.times)
    steepest = [np.abs(np.diff(draw(drawer, c, GlassesDesign()).rim, axis=2)).max() for c in (clip, soft)]
    assert steepest[1] < 0.75 * steepest[0]


@pytest.mark.parametrize("seed", range(4))
def test_strokes_pass_every_side_once(seed):
    from attributes.glasses.geometry import glasses_mesh
    from attributes.glasses.strokes import border, sides, strokes

    triangles = glasses_mesh(random_design(np.random.default_rng(seed))).triangles
    lines = np.concatenate([sides(triangles), border(triangles)])
    found = strokes(lines)
    drawn = np.concatenate([np.stack([stroke[:-1], stroke[1:]], axis=1) for stroke in found])
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, lines.tolist()))
    assert len(found) < len(lines) / 20
