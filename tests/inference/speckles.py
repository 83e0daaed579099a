"""Hand-made label maps with several components, for our tests and nnU-Net's own functions."""

import numpy as np

CUBE = (8, 8, 8)


def _map(*boxes):
    """Return a label map (z, y, x): (value, first corner, corner after the last) in order."""
    labels = np.zeros(CUBE, np.uint8)
    for value, first, last in boxes:
        labels[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = value
    return labels


COMPONENTS = {
    "diagonal": (  # three voxels that touch by edges and corners, and a far one: four that tie
        _map((1, (0, 0, 0), (1, 1, 1)), (1, (1, 1, 1), (2, 2, 2)), (1, (2, 2, 1), (3, 3, 2)),
             (1, (6, 6, 6), (7, 7, 7))),
        1,
    ),
    "tie": (
        _map((1, (0, 0, 0), (2, 2, 2)), (1, (4, 4, 4), (6, 6, 6)), (1, (7, 7, 7), (8, 8, 8))),
        1,
    ),
    "larger": (
        _map((1, (0, 0, 0), (2, 2, 2)), (1, (4, 4, 4), (6, 6, 7)), (2, (7, 0, 0), (8, 1, 1))),
        1,
    ),
    "joined": (  # 2 beside 1 makes the smaller of two components of 1 the larger one together
        _map((1, (0, 0, 0), (2, 2, 2)), (2, (2, 0, 0), (5, 2, 2)), (1, (6, 6, 5), (8, 8, 8)),
             (3, (0, 7, 7), (1, 8, 8))),
        (1, 2),
    ),
    "absent": (_map((2, (0, 0, 0), (2, 2, 2))), 1),
}  # fmt: skip
"""Name -> label map, and the label or labels of which the largest component is kept."""

_ORGAN = (1, (0, 0, 0), (4, 4, 4))
_TUMOUR = (2, (4, 0, 0), (6, 3, 3))
_FAR_ORGAN = (1, (7, 7, 6), (8, 8, 8))
_FAR_TUMOUR = (2, (6, 6, 0), (8, 8, 1))

DECISIONS = {
    "both false": [
        (_map(_ORGAN, _TUMOUR), _map(_ORGAN, _TUMOUR, _FAR_ORGAN)),
        (_map(_ORGAN, _TUMOUR), _map(_ORGAN, _TUMOUR, _FAR_TUMOUR)),
    ],
    "second tumour is real": [
        (_map(_ORGAN, _TUMOUR, _FAR_TUMOUR), _map(_ORGAN, _TUMOUR, _FAR_TUMOUR, _FAR_ORGAN)),
        (_map(_ORGAN, _TUMOUR), _map(_ORGAN, _TUMOUR)),
    ],
    "nothing to remove": [(_map(_ORGAN, _TUMOUR), _map(_ORGAN, (2, (4, 0, 0), (5, 3, 3))))],
    "inside the foreground": [  # one component together, two of the organ
        (
            _map(_ORGAN, (2, (4, 0, 0), (8, 3, 3))),
            _map(_ORGAN, (2, (4, 0, 0), (7, 3, 3)), (1, (7, 0, 0), (8, 3, 3))),
        ),
        (_map(_ORGAN), _map(_ORGAN)),
    ],
    "one class": [(_map(_ORGAN), _map(_ORGAN, _FAR_ORGAN))],
}
"""Name -> (reference, prediction) of each case, labels 1 and 2."""
