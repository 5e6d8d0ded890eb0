"""What is drawn sits on the skin, is lit as the skin is, and leaves the rest alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from attributes.rendering.landmark_mesh import LandmarkMesher
from attributes.rendering.lighting import light, normals
from attributes.rendering.renderer import EmbreeRenderer
from attributes.stickers.drawing import Texture, draw
from attributes.stickers.spots import CONTOURS, GRID, Chart
from toolkit.errors import InputError
from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip
from toolkit.testing import synthetic_clip

RED = np.zeros((64, 64, 4), np.uint8)
RED[...] = (220, 30, 30, 255)
FULL = np.ones((GRID, GRID), bool)


@pytest.fixture(scope="module")
def clip():
    return synthetic_clip(frames=8, size=256)


@pytest.fixture(scope="module")
def mesh(clip):
    return LandmarkMesher().mesh(clip)


def drawn(clip, mesh, spot, rgba=RED, **options):
    texture = Texture.of(rgba, options.pop("kind", "shape"), options.pop("gloss", 0.0), options.pop("opacity", 1.0))
    scale = options.pop("scale", clip.scale)
    return list(draw(clip.frames, mesh, spot, texture, EmbreeRenderer(), scale, **options))


def cheek(mesh, size=0.3, angle=0.0):
    chart = Chart(mesh, ())
    uv = mesh.uv[np.argmin(np.linalg.norm(mesh.rest - [0.45, 0.25, mesh.rest[:, 2].mean()], axis=1))]
    spot = chart.spot_at(uv, size, angle, FULL)
    assert spot is not None
    return spot


def changed(frame, picture):
    return (frame != picture).any(axis=-1)


def test_only_the_window_changes_and_the_input_does_not(clip, mesh):
    before = clip.frames.copy()
    for frame, (picture, (x0, y0, x1, y1), cover) in zip(clip.frames, drawn(clip, mesh, cheek(mesh))):
        mask = changed(frame, picture)
        assert 50 < mask.sum() < 5000
        assert mask[y0:y1, x0:x1][cover > 0.5].mean() > 0.9
        assert not mask[y0:y1, x0:x1][cover == 0].any()
        mask[y0:y1, x0:x1] = False
        assert not mask.any()
    np.testing.assert_array_equal(clip.frames, before)


def test_sticker_rides_on_the_mesh(clip, mesh):
    spot = cheek(mesh)
    centre = np.einsum("pk,tpkc->tpc", spot.weights, mesh.vertices[:, spot.corners]).mean(axis=1)
    for t, (picture, _, _) in enumerate(drawn(clip, mesh, spot)):
        ys, xs = np.nonzero(changed(clip.frames[t], picture))
        assert np.hypot(xs.mean() - centre[t, 0], ys.mean() - centre[t, 1]) < 2.5


def turned(mesh, degrees, size):
    """The rest shape turned about the vertical axis, `size` pixels between the eye corners, as a mesh of one frame."""
    turn = np.radians(degrees)
    about = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    return replace(mesh, vertices=((mesh.rest @ about.T) * size + [128, 128, 0]).astype(np.float32)[None])


def first(clip):
    return replace(clip, frames=clip.frames[:1], landmarks=clip.landmarks[:1], times=clip.times[:1])


def test_turned_away_it_is_narrower_as_the_skin_is(mesh, clip):
    spot = cheek(mesh)
    widths, expected = [], []
    for degrees in (0, -25):
        posed = turned(mesh, degrees, 80)
        picture, _, _ = drawn(first(clip), posed, spot, kind="tattoo")[0]
        widths.append(changed(clip.frames[0], picture).any(axis=0).sum())
        expected.append(np.ptp(np.einsum("pk,pk->p", spot.weights, posed.vertices[0, spot.corners, 0])))
    assert expected[1] / expected[0] < 0.9
    np.testing.assert_allclose(widths[1] / widths[0], expected[1] / expected[0], atol=0.1)


def test_the_nose_hides_it(clip, mesh):
    """Beside the nose, on the far side of a strongly turned head, part of the sticker must vanish."""
    spot = Chart(mesh, ()).spot_at(
        mesh.uv[np.argmin(np.linalg.norm(mesh.rest[:, :2] - [-0.28, 0.12], axis=1))], 0.2, 0, FULL
    )
    areas = {}
    for degrees in (-35, 0, 35):
        picture, _, _ = drawn(first(clip), turned(mesh, degrees, 120), spot, kind="tattoo")[0]
        areas[degrees] = changed(clip.frames[0], picture).sum()
    assert min(areas[-35], areas[35]) < 0.75 * areas[0]


def test_edge_is_antialiased(clip, mesh):
    picture, _, _ = drawn(clip, mesh, cheek(mesh), kind="tattoo", scale=1.0)[0]
    mask = changed(clip.frames[0], picture)
    distance = np.abs(picture.astype(int) - clip.frames[0]).sum(axis=-1)[mask]
    assert ((distance > 5) & (distance < 0.8 * np.percentile(distance, 90))).mean() > 0.1


@pytest.mark.parametrize("size", [0.3, 1.2])
def test_the_whole_sticker_is_drawn(mesh, clip, size):
    """A frame of one colour along the rim of the picture is as wide on all sides as in the picture."""
    framed = RED.copy()
    framed[6:-6, 6:-6] = 0
    posed = turned(mesh, 0, 150)
    spot = Chart(mesh, ()).spot_at(np.float32([0.5, 0.5]), size, 0.0, np.zeros((GRID, GRID), bool))
    picture, (x0, y0, x1, y1), _ = drawn(first(clip), posed, spot, rgba=framed, kind="tattoo")[0]
    mask = changed(clip.frames[0], picture)[y0:y1, x0:x1]
    rims = [mask[0], mask[-1], mask[:, 0], mask[:, -1]]
    touching = [rim.mean() for rim, side in zip(rims, (y0 > 0, y1 < 256, x0 > 0, x1 < 256)) if side]
    assert max(touching) < 0.2


def test_drawing_does_not_change_the_texture(mesh, clip):
    texture = Texture.of(RED[:8, :8], "shape", 0.0, 1.0)
    before = texture.rgba.copy()
    list(draw(clip.frames, mesh, cheek(mesh), texture, EmbreeRenderer(), 1.0))
    np.testing.assert_array_equal(texture.rgba, before)


def test_transparent_parts_change_nothing(clip, mesh):
    ring = RED.copy()
    cv2.circle(ring, (32, 32), 22, (0, 0, 0, 0), -1)
    solid, _, _ = drawn(clip, mesh, cheek(mesh, 0.5), kind="tattoo")[0]
    hollow, _, _ = drawn(clip, mesh, cheek(mesh, 0.5), rgba=ring, kind="tattoo")[0]
    assert changed(clip.frames[0], hollow).sum() < 0.8 * changed(clip.frames[0], solid).sum()


def test_opacity_lets_the_skin_through(clip, mesh):
    strong, _, _ = drawn(clip, mesh, cheek(mesh), kind="tattoo")[0]
    weak, _, _ = drawn(clip, mesh, cheek(mesh), kind="tattoo", opacity=0.3)[0]
    change = [np.abs(p.astype(int) - clip.frames[0]).sum() for p in (strong, weak)]
    assert change[1] < 0.45 * change[0]


def test_in_the_dark_the_sticker_is_dark(clip, mesh):
    white = np.full((64, 64, 4), 255, np.uint8)
    spot = cheek(mesh)

    def brightness(frames):
        dark = replace(clip, frames=frames)
        picture, _, _ = drawn(dark, mesh, spot, rgba=white)[0]
        return picture[changed(frames[0], picture)].mean()

    bright = brightness(clip.frames)
    dim = brightness((clip.frames * 0.3).astype(np.uint8))
    assert dim < 0.5 * bright


def test_enlarged_video_gets_a_soft_sticker(clip, mesh):
    def sharpness(scale):
        picture, (x0, y0, x1, y1), _ = drawn(clip, mesh, cheek(mesh, 0.5), kind="tattoo", scale=scale)[0]
        return np.abs(cv2.Laplacian(picture[y0:y1, x0:x1].astype(np.float32), cv2.CV_32F)).mean()

    assert sharpness(4.0) < 0.8 * sharpness(1.0)


def test_light_finds_the_bright_side(mesh):
    """A head lit from one side by known shading gives that shading back."""
    side = 256
    frames = np.full((3, side, side, 3), 40, np.uint8)
    still = np.repeat(((mesh.rest * 100) + [128, 128, 0]).astype(np.float32)[None], 3, axis=0)
    posed = replace(mesh, vertices=still)
    normal = normals(still, mesh.triangles, np.arange(len(mesh.rest)))[0]
    lit = np.clip(0.55 + 0.4 * normal[:, 0], 0, 1)
    picture = frames[0].copy()
    for triangle in mesh.triangles:
        colour = np.array([200, 160, 140]) * lit[triangle].mean()
        cv2.fillConvexPoly(picture, np.round(still[0][triangle, :2]).astype(int), colour.tolist())
    frames[:] = picture
    left = np.argmin(np.linalg.norm(mesh.rest[:, :2] - [-0.5, 0.2], axis=1))
    right = np.argmin(np.linalg.norm(mesh.rest[:, :2] - [0.5, 0.2], axis=1))
    shading = light(frames, posed, np.array([left, right])).shading
    assert shading[:, 1].min() > shading[:, 0].max()
    expected = lit[left] / lit[right]
    np.testing.assert_allclose(shading[:, 0] / shading[:, 1], expected, atol=0.2)


@pytest.mark.parametrize("name", ["eyes", "mouth", "brows", "nose"])
def test_forbidden_regions_are_never_covered(mesh, name):
    chart = Chart(mesh, (name,))
    free = Chart(mesh, ())
    assert chart.allowed.sum() < free.allowed.sum()
    for region in CONTOURS[name]:
        cells = (mesh.uv[mesh.regions[region]] * len(chart.allowed)).astype(int)
        assert not chart.allowed[cells[:, 1], cells[:, 0]].any()
    rng = np.random.default_rng(0)
    for _ in range(20):
        spot = chart.random(rng, (0.2, 0.5), (-180, 180), FULL)
        inside = ((spot.texcoords > 0) & (spot.texcoords < 1)).all(axis=1)
        covered = set(np.flatnonzero(inside))
        for region in CONTOURS[name]:
            assert not covered & set(mesh.regions[region].tolist())


def test_size_is_measured_on_the_skin(mesh):
    """A square of side 0.3 covers, on the rest shape, 0.3 eye distances in both directions, wherever it is."""
    chart, rng = Chart(mesh, ()), np.random.default_rng(1)
    for _ in range(20):
        spot = chart.random(rng, (0.3, 0.3), (-30, 30), FULL)
        inside = ((spot.texcoords > -0.2) & (spot.texcoords < 1.2)).all(axis=1)
        flat, rest = spot.texcoords[inside] * 0.3, mesh.rest[inside]
        apart = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
        real = np.linalg.norm(rest[:, None] - rest[None], axis=-1)
        far = apart > 0.12
        assert 0.75 < np.median(apart[far] / real[far]) < 1.3


def test_nowhere_to_go(mesh):
    chart = Chart(mesh, ("eyes", "mouth", "brows", "nose"))
    assert chart.random(np.random.default_rng(0), (1.9, 2.0), (0, 0), FULL) is None


def test_landmarks_without_triangles_are_refused():
    topology = replace(load_topology("mediapipe478"), triangles=np.zeros((0, 3), np.int32))
    clip = FaceClip(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 478, 3), np.float32), topology, np.zeros(1))
    with pytest.raises(InputError, match="face_model"):
        LandmarkMesher().mesh(clip)
