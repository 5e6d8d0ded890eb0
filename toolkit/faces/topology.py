"""Describes a set of landmarks: named regions, triangles, a UV layout and a mean shape.

Imports only numpy, so that `toolkit.task` can use it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True, eq=False)
class Topology:
    """The fixed part of a set of landmarks, the same for every face.

    Attributes:
        name: ``mediapipe478`` or ``ibug68``; topologies with the same name are identical.
        count: number of landmarks N.
        triangles: int32 ``[F, 3]`` indices of landmarks, empty if there is no mesh. All have the same winding, seen
            from outside the face. Eyes and mouth are holes.
        uv: float32 ``[N, 2]`` in 0..1, v downwards; NaN for landmarks outside the mesh.
        mean: float32 ``[N, 3]``, a neutral frontal face; x right, y down, z away from the viewer, centred, in units
            of the distance between the outer eye corners.
        regions: ordered int32 index arrays by name; left and right are the person's own.
    """

    name: str
    count: int
    triangles: np.ndarray
    uv: np.ndarray
    mean: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Callable[[str], Topology], tuple[str]]:
        return load_topology, (self.name,)


@cache
def load_topology(name: str) -> Topology:
    """Read an embedded topology.

    Raises:
        KeyError: there is no such topology.
    """
    folder = files(__package__) / "data"
    path = folder / f"{name}.json"
    if not path.is_file():
        raise KeyError(f"no topology named {name!r}")
    raw = json.loads(path.read_text(encoding="utf-8"))
    arrays = {
        "triangles": np.asarray(raw["triangles"], np.int32).reshape(-1, 3),
        "uv": np.asarray([[np.nan, np.nan] if p is None else p for p in raw["uv"]], np.float32),
        "mean": np.asarray(raw["mean"], np.float32),
    }
    regions = {key: np.asarray(value, np.int32) for key, value in raw["regions"].items()}
    for array in (*arrays.values(), *regions.values()):
        array.flags.writeable = False
    return Topology(name, len(arrays["mean"]), regions=MappingProxyType(regions), **arrays)
