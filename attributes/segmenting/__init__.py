"""What the segmenters of attributes share: the network, its region of the face, weights files, and the training."""
