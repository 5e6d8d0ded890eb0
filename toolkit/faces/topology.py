"""What the landmarks of an analyser are: names of regions, triangles, a UV layout and a mean shape.

numpy only, so that `toolkit.task` may import it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True, eq=False)
class Topology:
    """The fixed part of a set of landmarks, the same for every face.

    Attributes:
        name: ``mediapipe478`` or ``ibug68``; two topologies are the same when their names are.
        count: number of landmarks N.
        triangles: int32 ``[F, 3]`` into the landmarks, empty where there is no mesh. Seen from outside the
            face the winding is the same for all. Eyes and mouth are holes.
        uv: float32 ``[N, 2]`` in 0..1, v downwards; NaN for landmarks outside the mesh.
        mean: float32 ``[N, 3]``, a neutral frontal face; x right, y down, z away from the viewer, centred, in units
            of the distance between the outer eye corners.
        regions: names to ordered int32 index arrays; left and right are the person's own.
    """

    name: str
    count: int
    triangles: np.ndarray
    uv: np.ndarray
    mean: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __reduce__(self):
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
    raw = json.loads(path.read_text())
    arrays = {
        "triangles": np.asarray(raw["triangles"], np.int32).reshape(-1, 3),
        "uv": np.asarray([[np.nan, np.nan] if p is None else p for p in raw["uv"]], np.float32),
        "mean": np.asarray(raw["mean"], np.float32),
    }
    regions = {key: np.asarray(value, np.int32) for key, value in raw["regions"].items()}
    for array in (*arrays.values(), *regions.values()):
        array.flags.writeable = False
    return Topology(name, len(arrays["mean"]), regions=MappingProxyType(regions), **arrays)
