"""pytorch3d's rasteriser in numpy, so that its rule is tested where it is not installed.

The rule of `pytorch3d.renderer.mesh.rasterize_meshes` on the CPU: all is float32, a sample is inside a triangle if its
three weights are greater than 0, triangles of almost no area are left out, and `blur_radius` takes in samples whose
squared distance to a triangle is smaller.
"""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import torch

EPSILON = np.float32(1e-8)


def edge(p, a, b):
    return (p[0] - a[0]) * (b[1] - a[1]) - (p[1] - a[1]) * (b[0] - a[0])


def squared_distance(p, a, b):
    along = b - a
    length = along @ along
    if length <= EPSILON:
        return (p[0] - b[0]) ** 2 + (p[1] - b[1]) ** 2
    t = np.clip(((p[0] - a[0]) * along[0] + (p[1] - a[1]) * along[1]) / length, np.float32(0), np.float32(1))
    return (p[0] - (a[0] + t * along[0])) ** 2 + (p[1] - (a[1] + t * along[1])) ** 2


def centres(count, other):
    """Coordinates of the samples along a side; the shorter side spans -1..1, and they fall from left to right."""
    length = np.float32(2 * max(count / other, 1))
    return ((np.arange(count, dtype=np.float32) + np.float32(0.5)) * length / np.float32(count) - length / 2)[::-1]


def rasterize_meshes(
    meshes,
    image_size,
    faces_per_pixel=1,
    blur_radius=0.0,
    perspective_correct=False,
    clip_barycentric_coords=False,
    cull_backfaces=False,
):
    assert faces_per_pixel == 1 and not perspective_correct and not cull_backfaces
    height, width = image_size
    p = np.broadcast_arrays(centres(width, height)[None], centres(height, width)[:, None])
    nearest = np.full((height, width), np.float32(np.inf))
    found, weights = np.full((height, width), -1), np.full((height, width, 3), np.float32(-1))
    for index, triangle in enumerate(meshes.vertices[meshes.faces]):
        (a, b, c), depths = triangle[:, :2], triangle[:, 2]
        area = edge(c, a, b)
        if abs(area) <= EPSILON:
            continue
        w = np.stack([edge(p, b, c), edge(p, c, a), edge(p, a, b)], axis=-1) / (area + EPSILON)
        inside = (w > 0).all(axis=-1)
        if clip_barycentric_coords:
            w = np.maximum(w, 0)
            w /= np.maximum(w.sum(axis=-1, keepdims=True), np.float32(1e-5))
        depth = w @ depths
        apart = np.minimum.reduce([squared_distance(p, *side) for side in ((a, b), (b, c), (c, a))])
        hit = (inside | (apart < np.float32(blur_radius))) & (depth >= 0) & (depth < nearest)
        nearest[hit], found[hit], weights[hit] = depth[hit], index, w[hit]
    return torch.from_numpy(found)[None, ..., None], None, torch.from_numpy(weights)[None, :, :, None], None


def meshes(vertices, faces):
    return SimpleNamespace(vertices=vertices[0].numpy().astype(np.float32), faces=faces[0].numpy())


def install(monkeypatch):
    """Make `import pytorch3d` find this module."""
    names = ("pytorch3d", "pytorch3d.renderer", "pytorch3d.renderer.mesh", "pytorch3d.renderer.mesh.rasterize_meshes")
    for name in (*names, "pytorch3d.structures"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[names[-1]].rasterize_meshes = rasterize_meshes
    sys.modules["pytorch3d.structures"].Meshes = meshes
