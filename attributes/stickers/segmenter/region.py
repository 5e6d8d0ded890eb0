"""The region that the network sees: the face from the hair line to the chin and from ear to ear."""

from __future__ import annotations

from attributes.segmenting.region import Frame

SIDE = 192
"""Width and height of the region in pixels. It shows the face at about the scale of crops of 256 pixels."""
FACE = Frame(SIDE, SIDE, span=2.3, centre=(0.0, -0.05, 0.15))
