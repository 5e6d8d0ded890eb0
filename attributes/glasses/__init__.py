"""Eyeglasses: 3D ones to draw, a segmenter that finds real ones, and pairs of frames with and without them."""
