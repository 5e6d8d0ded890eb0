"""Use the analyser's landmarks as a mesh, without a morphable model."""

from __future__ import annotations

from attributes.rendering.mesh import FaceMesh
from toolkit.errors import InputError
from toolkit.task import FaceClip


class LandmarkMesher:
    """A `Mesher` that uses the 468 points of mediapipe's mesh.

    A step of Loop subdivision was tried. Stickers at 512 pixels looked the same, with four times as many triangles.
    """

    def mesh(self, clip: FaceClip) -> FaceMesh:
        """The mesh of a clip.

        Raises:
            InputError: the landmarks of the analyser have no triangles.
        """
        topology = clip.topology
        if not len(topology.triangles):
            raise InputError(
                f"stickers need a face mesh, and the {topology.count} landmarks of {topology.name} have none: "
                "use the mediapipe analyser or name a morphable model with the task option face_model"
            )
        count = int(topology.triangles.max()) + 1  # the irises are behind the mesh and not part of it
        regions = {name: indices for name, indices in topology.regions.items() if (indices < count).all()}
        return FaceMesh(
            vertices=clip.landmarks[:, :count],
            triangles=topology.triangles,
            uv=topology.uv[:count],
            rest=topology.mean[:count],
            regions=regions,
        )
