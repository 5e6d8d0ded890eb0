"""Draw the sides of many triangles as a few long lines."""

from __future__ import annotations

import numpy as np


def sides(triangles: np.ndarray) -> np.ndarray:
    """The sides of triangles in their order: int ``[3 F, 2]``."""
    return np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])


def border(triangles: np.ndarray) -> np.ndarray:
    """Sides that no other triangle has: int ``[E, 2]``."""
    all_sides = sides(triangles)
    _, first, counts = np.unique(np.sort(all_sides, axis=1), axis=0, return_index=True, return_counts=True)
    return all_sides[first[counts == 1]]


def strokes(lines: np.ndarray) -> list[np.ndarray]:
    """Closed lines that pass every side once: OpenCV draws a few long lines faster than thousands of short ones.

    They exist because as many sides end at each vertex as start there.
    """
    starts, ends = lines.T.tolist()
    # Linked lists of the sides that start at each vertex: thousands of small objects would start the garbage collector.
    first, following = [-1] * (int(lines.max()) + 1), []
    for side, at in enumerate(starts):
        following.append(first[at])
        first[at] = side
    found = []
    for at in range(len(first)):
        if first[at] < 0:
            continue
        # Hierholzer's method: where a way ends, an earlier vertex of it may begin another round.
        way, stroke = [at], []
        while way:
            if (side := first[way[-1]]) >= 0:
                first[way[-1]] = following[side]
                way.append(ends[side])
            else:
                stroke.append(way.pop())
        found.append(np.array(stroke[::-1]))
    return found
