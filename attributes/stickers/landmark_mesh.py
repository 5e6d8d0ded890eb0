"""The analyser's own landmarks as a mesh: what serves when no morphable model is given."""

from __future__ import annotations

from functools import cache

import numpy as np
import scipy.sparse

from attributes.stickers.mesh import FaceMesh
from toolkit.errors import InputError
from toolkit.faces.topology import load_topology
from toolkit.task import FaceClip


@cache
def loop_subdivision(topology_name: str) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """One step of Loop subdivision of a topology's mesh, as (float32 sparse ``[V, N]``, int32 triangles ``[4 F, 3]``).

    The landmarks are 15 pixels and more apart; without it a sticker's outline breaks at every edge of a triangle.
    Being linear it is computed once, on unit vectors, three at a time, and is a product afterwards.
    """
    from trimesh.remesh import subdivide_loop

    topology = load_topology(topology_name)
    used = np.unique(topology.triangles)
    compact = np.searchsorted(used, topology.triangles)
    columns = []
    for start in range(0, len(used), 3):
        unit = np.zeros((len(used), 3))
        unit[np.arange(start, min(start + 3, len(used))), np.arange(min(3, len(used) - start))] = 1
        vertices, triangles = subdivide_loop(unit, compact, iterations=1)
        columns.append(scipy.sparse.csc_matrix(vertices[:, : min(3, len(used) - start)]))
    matrix = scipy.sparse.hstack(columns).tocsc()
    full = scipy.sparse.lil_matrix((matrix.shape[0], topology.count), dtype=np.float32)
    full[:, used] = matrix
    return full.tocsr(), np.asarray(triangles, np.int32)


class LandmarkMesher:
    """`Mesher` of the 478 points of mediapipe, subdivided once."""

    def mesh(self, clip: FaceClip) -> FaceMesh:
        """Mesh of `clip`.

        Raises:
            InputError: the analyser's landmarks have no triangles.
        """
        topology = clip.topology
        if not len(topology.triangles):
            raise InputError(
                f"stickers need a face mesh, and the {topology.count} landmarks of {topology.name} have none: "
                "use the mediapipe analyser or name a morphable model with --face-model"
            )
        matrix, triangles = loop_subdivision(topology.name)
        flat = clip.landmarks.transpose(1, 0, 2).reshape(topology.count, -1)
        vertices = (matrix @ flat).reshape(matrix.shape[0], len(clip), 3).transpose(1, 0, 2)
        vertices[~clip.present] = np.nan
        # Loop subdivision keeps the old vertices first, in the compact order of the triangles that use them.
        kept = {int(v): i for i, v in enumerate(np.unique(topology.triangles))}
        regions = {
            name: np.array([kept[int(v)] for v in indices if int(v) in kept], np.int32)
            for name, indices in topology.regions.items()
            if "iris" not in name
        }
        return FaceMesh(
            vertices=np.ascontiguousarray(vertices, np.float32),
            triangles=triangles,
            uv=np.asarray(matrix @ np.nan_to_num(topology.uv), np.float32),
            rest=np.asarray(matrix @ topology.mean, np.float32),
            regions=regions,
        )
