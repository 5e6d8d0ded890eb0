"""Builds the embedded ``mediapipe478`` topology: the mean face of frontal portraits and its UV layout.

    python -m toolkit.faces.build_topology PORTRAIT [PORTRAIT ...] > toolkit/faces/data/mediapipe478.json

The shipped file was built from the training portraits of the Face Research Lab London Set (DeBruine and Jones 2017,
CC BY 4.0). It holds averages only, no picture.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator

import numpy as np

LEFT_EYE_CORNER, RIGHT_EYE_CORNER = 263, 33


def triangles_from_edges(edges: set[tuple[int, int]]) -> np.ndarray:
    """Triangles of a mesh that is known only by its undirected edges: int32 ``[F, 3]``, unoriented.

    Every three mutually connected vertices form a triangle, except triples that enclose other triangles: each of their
    edges would belong to three triangles, which is impossible in a manifold.
    """
    ordered = {(min(edge), max(edge)) for edge in edges}
    neighbours: dict[int, set[int]] = {}
    for a, b in ordered:
        neighbours.setdefault(a, set()).add(b)
        neighbours.setdefault(b, set()).add(a)
    triples = {tuple(sorted((a, b, c))) for a, b in ordered for c in neighbours[a] & neighbours[b]}

    def pairs(triple: tuple[int, ...]) -> Iterator[tuple[int, int]]:
        return itertools.combinations(triple, 2)

    use: dict[tuple[int, int], int] = {}
    for triple in triples:
        for pair in pairs(triple):
            use[pair] = use.get(pair, 0) + 1
    faces = [triple for triple in triples if not all(use[pair] > 2 for pair in pairs(triple))]
    return np.array(sorted(faces), np.int32)


def ordered_loop(edges: set[tuple[int, int]]) -> list[int]:
    """Vertices of a closed contour or an open chain, in order, starting at its smallest end."""
    neighbours: dict[int, list[int]] = {}
    for a, b in sorted(edges):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    ends = sorted(v for v, n in neighbours.items() if len(n) == 1) or sorted(neighbours)
    order: list[int] = []
    current: int | None = ends[0]
    while current is not None:
        order.append(current)
        current = next((v for v in neighbours[current] if v not in order), None)
    return order


def connected(edges: set[tuple[int, int]], start: int) -> set[int]:
    """Vertices that can be reached from `start` along `edges`."""
    seen, front = {start}, [start]
    while front:
        current = front.pop()
        reached = {v for edge in edges if current in edge for v in edge} - seen
        seen |= reached
        front += reached
    return seen


def orient(triangles: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Wind all triangles so that their normals point at the viewer (negative z) in the frontal mean face."""
    a, b, c = (mean[triangles[:, k]] for k in range(3))
    away = np.cross(b - a, c - a)[:, 2] > 0
    return np.where(away[:, None], triangles[:, [0, 2, 1]], triangles)


def unwrap(mean: np.ndarray) -> np.ndarray:
    """Cylindrical UV layout of the mean face, float32 ``[N, 2]`` in 0.02..0.98.

    The face spans 200 degrees around the axis, so that its sides get enough room; v is the height.
    """
    half_width = np.abs(mean[:, 0]).max()
    sides = mean[np.abs(mean[:, 0]) > 0.95 * half_width, 2].mean()
    axis = sides - half_width * np.tan(np.radians(10.0))
    angle = np.arctan2(mean[:, 0], axis - mean[:, 2])
    uv = np.stack([angle, mean[:, 1]], axis=1)
    low, high = uv.min(axis=0), uv.max(axis=0)
    return (0.02 + 0.96 * (uv - low) / (high - low)).astype(np.float32)


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """Mean of ``[P, N, 3]`` shapes without their position, size and rotation; the eyes are level."""
    shapes = shapes - shapes[:, :468].mean(axis=1, keepdims=True)
    shapes = shapes / np.linalg.norm(shapes[:, LEFT_EYE_CORNER] - shapes[:, RIGHT_EYE_CORNER], axis=-1)[:, None, None]
    mean = shapes[0]
    for _ in range(10):
        aligned = []
        for shape in shapes:
            u, _, vt = np.linalg.svd(shape.T @ mean)
            aligned.append(shape @ (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt))
        mean = np.mean(aligned, axis=0)
    across = mean[LEFT_EYE_CORNER] - mean[RIGHT_EYE_CORNER]
    across /= np.linalg.norm(across)
    down = mean[152] - mean[10]
    down -= across * (down @ across)
    down /= np.linalg.norm(down)
    return mean @ np.stack([across, down, np.cross(across, down)], axis=1)


def main(portraits: list[str]) -> None:
    import cv2
    import mediapipe as mp
    from mediapipe.python.solutions import face_mesh_connections as connections

    shapes = []
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for path in portraits:
            image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
            result = mesh.process(image).multi_face_landmarks
            if not result:
                print(f"no face in {path}", file=sys.stderr)
                continue
            height, width = image.shape[:2]
            points = np.array([[p.x * width, p.y * height, p.z * width] for p in result[0].landmark])
            shapes.append(points)
    mean = mean_shape(np.array(shapes))
    triangles = orient(triangles_from_edges(set(connections.FACEMESH_TESSELATION)), mean)
    inner = connected(connections.FACEMESH_LIPS, start=78)
    inner_lips = {edge for edge in connections.FACEMESH_LIPS if set(edge) <= inner}
    outer_lips = set(connections.FACEMESH_LIPS) - inner_lips
    regions = {
        "left_eye": ordered_loop(connections.FACEMESH_LEFT_EYE),
        "right_eye": ordered_loop(connections.FACEMESH_RIGHT_EYE),
        "left_brow": sorted({v for e in connections.FACEMESH_LEFT_EYEBROW for v in e}),
        "right_brow": sorted({v for e in connections.FACEMESH_RIGHT_EYEBROW for v in e}),
        "left_iris": [473, *ordered_loop(connections.FACEMESH_LEFT_IRIS)],
        "right_iris": [468, *ordered_loop(connections.FACEMESH_RIGHT_IRIS)],
        "lips": ordered_loop(outer_lips),
        "lips_inner": ordered_loop(inner_lips),
        "oval": ordered_loop(connections.FACEMESH_FACE_OVAL),
        "nose": sorted({v for e in connections.FACEMESH_NOSE for v in e}),
    }
    uv = unwrap(mean[:468])
    uv_rows = [[round(float(x), 5) for x in row] for row in uv] + [None] * (len(mean) - 468)
    json.dump(
        {
            "triangles": triangles.tolist(),
            "uv": uv_rows,
            "mean": [[round(float(x), 5) for x in row] for row in mean],
            "regions": {key: [int(v) for v in value] for key, value in regions.items()},
        },
        sys.stdout,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("portraits", nargs="+")
    main(parser.parse_args().portraits)
