"""Draw 3D eyeglasses, find real ones, and generate pairs of frames with and without them."""
