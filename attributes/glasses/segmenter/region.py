"""The region that the network sees: both eyes and what glasses reach around them."""

from __future__ import annotations

import numpy as np

from attributes.segmenting import region
from attributes.segmenting.region import Frame, Regions
from toolkit.faces.topology import Topology

WIDTH, HEIGHT = 256, 128
"""Size of the region in pixels."""
EYES = Frame(WIDTH, HEIGHT, span=2.2, centre=(0.0, -0.3, 0.25))
"""Its middle is behind the nose bridge, so that temples of turned faces fit."""


def eye_regions(landmarks: np.ndarray, topology: Topology) -> Regions:
    """Locate the region of the eyes in each frame; see `attributes.segmenting.region.regions_of`."""
    return region.regions_of(landmarks, topology, EYES)


def cut_out(frame: np.ndarray, to_region: np.ndarray, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Crop the region of a frame; see `attributes.segmenting.region.cut_out`."""
    return region.cut_out(frame, to_region, width, height)
