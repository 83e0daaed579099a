"""Label maps made by formula, for our tests and for the references of other packages."""

import numpy as np

REGIONS = {"kidney_cyst": (24,), "liver_tumor": (25,), "spleen": (1,), "liver": (5, 25),
           "kidney": (22, 24)}  # fmt: skip
"""The regions of the tests' label table, in the order of the model card, with their integers."""

RESAMPLED = {
    "finer than the network's grid": ((60, 112, 125), (1.0, 0.8, 0.8)),
    "thick slices": ((28, 112, 125), (5.0, 0.8, 0.8)),
    "coarser than the network's grid": ((50, 76, 80), (2.0, 1.3, 1.3)),
}
"""Name -> voxels and mm (z, y, x) of a file whose grid is not the network's."""
NETWORK_SPACING = (1.5, 1.0, 1.0)


def blobs(shape):
    """Return nested and separate structures of at least 1,000 voxels (z, y, x), uint8."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))

    def ball(centre, radius):
        offset = grid - np.asarray(centre).reshape(3, 1, 1, 1)
        return (offset**2).sum(axis=0) < radius**2

    labels = np.zeros(shape, np.uint8)
    labels[ball((0.2, -0.1, -0.35), 0.45)] = 5
    labels[ball((0.25, -0.1, -0.3), 0.25)] = 25
    labels[ball((-0.1, 0.2, 0.5), 0.3)] = 22
    labels[ball((-0.1, 0.2, 0.62), 0.2)] = 24
    labels[ball((-0.6, -0.5, 0.2), 0.25)] = 1
    return labels
