"""Every backend sees what a plain z-buffer, written here without any library, sees."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from attributes.rendering.renderer import create_renderer
from toolkit.errors import MissingExtra, UsageError


def load(name):
    """A module beside this file."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rasteriser = load("rasteriser")


@pytest.fixture(params=["embree", "pytorch3d", "the rule of pytorch3d"])
def renderer(request, monkeypatch):
    if request.param == "the rule of pytorch3d":
        rasteriser.install(monkeypatch)
        return create_renderer("pytorch3d", "cpu")
    try:
        return create_renderer(request.param)
    except MissingExtra as error:
        pytest.skip(str(error))


def z_buffer(vertices, triangles, window, step):
    """Nearest triangle and its barycentric weights at the middle of every step x step pixels."""
    x0, y0, x1, y1 = window
    ys, xs = np.mgrid[y0:y1:step, x0:x1:step] + step / 2.0
    nearest = np.full(xs.shape, np.inf)
    found, weights = np.full(xs.shape, -1), np.zeros((*xs.shape, 3))
    for index, (a, b, c) in enumerate(vertices[triangles].astype(float)):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        w1 = ((xs - a[0]) * (c[1] - a[1]) - (ys - a[1]) * (c[0] - a[0])) / area
        w2 = ((b[0] - a[0]) * (ys - a[1]) - (b[1] - a[1]) * (xs - a[0])) / area
        w = np.stack([1 - w1 - w2, w1, w2], axis=-1)
        depth = w @ [a[2], b[2], c[2]]
        hit = (w > 0).all(axis=-1) & (depth < nearest)
        nearest[hit], found[hit], weights[hit] = depth[hit], index, w[hit]
    return found, weights


def soup(seed, count=40, side=48):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, side, (count, 1, 3))
    vertices = (centres + rng.normal(0, 8, (count, 3, 3))).reshape(-1, 3).astype(np.float32)
    return vertices, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [1, 2, 3])
def test_agrees_with_a_z_buffer(renderer, seed, step):
    vertices, triangles = soup(seed)
    window = (6, 3, 42, 39)
    seen = renderer.fragments(vertices[None], triangles, [window], step)[0]
    found, weights = z_buffer(vertices, triangles, window, step)
    same = seen.triangle == found
    assert same.mean() > 0.995  # a sample on an edge may fall to either side
    np.testing.assert_allclose(seen.weights[same], weights[same], atol=2e-4)


def test_interpolated_positions_are_the_samples(renderer):
    vertices = np.array([[0, 0, 5], [64, 0, 9], [0, 64, 7], [64, 64, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    seen = renderer.fragments(vertices[None], triangles, [(8, 16, 40, 32)])[0]
    assert (seen.triangle >= 0).all()
    where = seen.interpolate(triangles, vertices)
    ys, xs = np.mgrid[16:32, 8:40] + 0.5
    np.testing.assert_allclose(where[..., 0], xs, atol=1e-3)
    np.testing.assert_allclose(where[..., 1], ys, atol=1e-3)


def test_nearer_surface_hides_the_farther(renderer):
    square = np.array([[0, 0], [30, 0], [0, 30], [30, 30]], np.float32)
    far = np.c_[square, np.full(4, 10)]
    near = np.c_[square * 0.5 + 10, np.full(4, -10)]
    vertices = np.concatenate([far, near]).astype(np.float32)
    triangles = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]], np.int32)
    seen = renderer.fragments(vertices[None], triangles, [(0, 0, 30, 30)])[0].triangle
    assert (seen[11:24, 11:24] >= 2).all()
    assert (seen[:9] < 2).all() and (seen >= 0).all()


def test_frames_do_not_see_each_other(renderer):
    clouds = [soup(seed) for seed in range(3)]
    triangles = clouds[0][1]
    vertices = np.stack([cloud[0] for cloud in clouds])
    windows = [(0, 0, 48, 48), (10, 5, 31, 40), (200, 200, 210, 210)]
    together = renderer.fragments(vertices, triangles, windows, 2)
    for frame, window, seen in zip(vertices, windows, together):
        alone = renderer.fragments(frame[None], triangles, [window], 2)[0]
        assert seen.window == alone.window
        assert (seen.triangle == alone.triangle).mean() > 0.995
    assert (together[2].triangle == -1).all() and not together[2].weights.any()


def test_nothing_in_any_window(renderer):
    vertices, triangles = soup(0)
    seen = renderer.fragments(vertices[None], triangles, [(500, 500, 503, 502)], 2)[0]
    assert seen.triangle.shape == (1, 2) and (seen.triangle == -1).all()
    assert seen.window == (500, 500, 504, 502)


def grid(kind, seed):
    """A mesh without holes, with many edges and corners on samples unless it is turned."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 6))
    points = np.stack(np.meshgrid(*[np.arange(count + 1)] * 2), axis=-1).reshape(-1, 2) * rng.choice([3, 4, 6.5])
    if kind == "on samples":
        points += 0.5
    elif kind == "uneven":
        points += rng.integers(-2, 3, points.shape) * 0.5
    elif kind == "turned":
        angle = rng.uniform(0, 6)
        points = points @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    triangles = []
    for a in (row * (count + 1) + column for row in range(count) for column in range(count)):
        b, c, d = a + 1, a + count + 1, a + count + 2
        triangles += [[a, b, c], [b, d, c]] if rng.random() < 0.5 else [[a, b, d], [a, d, c]]
    vertices = np.c_[points - points.min(axis=0), rng.normal(0, 3, len(points))].astype(np.float32)
    return vertices, np.array(triangles, np.int32)


def well_inside(vertices, triangles, window):
    """Samples that stay inside the mesh when it is moved by a hundredth of a pixel."""
    steps = [(x, y) for x in (-0.01, 0.01) for y in (-0.01, 0.01)]
    return np.logical_and.reduce(
        [z_buffer(vertices + np.float32([*step, 0]), triangles, window, 1)[0] >= 0 for step in steps]
    )


@pytest.mark.parametrize("kind", ["between samples", "on samples", "uneven", "turned"])
def test_no_sample_inside_a_mesh_is_lost(renderer, kind):
    for seed in range(8):
        vertices, triangles = grid(kind, seed)
        window = (-1, -2, *(np.ceil(vertices[:, :2].max(axis=0)).astype(int) + 1))
        seen = renderer.fragments(vertices[None], triangles, [window])[0]
        inside = well_inside(vertices, triangles, window)
        assert inside.sum() > 20
        assert (seen.triangle[inside] >= 0).all()
        where = seen.interpolate(triangles, vertices)[inside]
        expected = (np.argwhere(inside) + 0.5 + [window[1], window[0]])[:, ::-1]
        np.testing.assert_allclose(where[:, :2], expected, atol=0.02)
        assert (seen.weights[inside] >= -1e-5).all()


SQUARE = np.array([[0, 0, 1], [6, 0, 1], [0, 6, 1], [6, 6, 1]], np.float32)
HALVES = np.array([[0, 1, 3], [0, 3, 2]], np.int32)


def test_samples_on_the_diagonal_of_a_square(renderer):
    seen = renderer.fragments(SQUARE[None], HALVES, [(0, 0, 6, 6)])[0]
    rows, columns = np.mgrid[:6, :6]
    assert (seen.triangle[rows < columns] == 0).all() and (seen.triangle[rows > columns] == 1).all()
    assert np.isin(np.diag(seen.triangle), (0, 1)).all()
    middle = (np.arange(6) + 0.5) / 6
    for index in range(6):
        first, last = (0, 2) if seen.triangle[index, index] == 0 else (0, 1)
        golden = np.zeros(3)
        golden[[first, last]] = 1 - middle[index], middle[index]
        np.testing.assert_allclose(seen.weights[index, index], golden, atol=1e-4)


def test_the_rule_alone_loses_the_diagonal():
    """So the test above would fail if the renderer did nothing about it."""
    points = (SQUARE - np.float32([3, 3, 0])) / np.float32([-3, -3, 1])
    found, *_ = rasteriser.rasterize_meshes(rasteriser.SimpleNamespace(vertices=points, faces=HALVES), (6, 6))
    assert (np.diag(found[0, ..., 0]) == -1).all()
    assert (found[0, ..., 0] == -1).sum() == 6


@pytest.mark.parametrize("seed", range(3))
def test_the_rule_is_that_of_pytorch3d(monkeypatch, seed):
    """Compares with the package where it is installed."""
    try:
        real = create_renderer("pytorch3d", "cpu")
    except MissingExtra as error:
        pytest.skip(str(error))
    rasteriser.install(monkeypatch)
    ours = create_renderer("pytorch3d", "cpu")
    for vertices, triangles in (soup(seed), grid("uneven", seed), grid("on samples", seed)):
        one, other = (each.fragments(vertices[None], triangles, [(2, 3, 40, 30)])[0] for each in (real, ours))
        same = one.triangle == other.triangle
        assert same.mean() > 0.995
        np.testing.assert_allclose(one.weights[same], other.weights[same], atol=1e-4)


def test_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="embree or pytorch3d"):
        create_renderer("opengl")
