"""Organs above the diaphragm."""

import numpy as np

from tsfm_pipeline.phantom.anatomy import Structure
from tsfm_pipeline.phantom.shapes import Common, HalfSpace, Solid, as_point
from tsfm_pipeline.phantom.variation import Variation

OBLIQUE_NORMAL = (0.0, -0.6, 0.8)
"""Of the lungs' oblique fissures; points to the upper lobe."""


def chest(vary: Variation) -> tuple[Structure, ...]:
    """Lungs in five lobes, airways, heart, oesophagus."""
    right = vary.egg((-51, 1, 84), (39, 53, 60))
    left = vary.egg((52, 1, 86), (37, 53, 58))
    above_diaphragm = HalfSpace((0, 0, 34), (0, 0, -1))
    lobes: list[Structure] = []
    for lung, side in ((right, "right"), (left, "left")):
        middle = np.add(lung.centre, [0, 0, -6 if side == "right" else 0])
        upper = HalfSpace(as_point(middle), as_point(np.negative(OBLIQUE_NORMAL)))
        lower = HalfSpace(as_point(middle), OBLIQUE_NORMAL)
        parts: dict[str, tuple[Solid, ...]] = {
            f"lung_lower_lobe_{side}": (lung, above_diaphragm, lower)
        }
        if side == "right":
            level = as_point(np.add(lung.centre, [0, 0, 6]))
            parts["lung_upper_lobe_right"] = (lung, upper, HalfSpace(level, (0, 0, -1)))
            parts["lung_middle_lobe_right"] = (
                lung,
                above_diaphragm,
                upper,
                HalfSpace(level, (0, 0, 1)),
            )
        else:
            parts["lung_upper_lobe_left"] = (lung, above_diaphragm, upper)
        lobes += [Structure(name, (Common(solids),), (name,)) for name, solids in parts.items()]
    airways = (
        *vary.hose([[0, 2, 165], [0, 2, 138], [0, 3, 112]], 7),
        *vary.hose([[0, 3, 112], [-14, 4, 103], [-30, 2, 96]], 5),
        *vary.hose([[0, 3, 112], [14, 4, 103], [30, 2, 96]], 5),
    )
    lung_vessels: list[Solid] = []
    for centre, sign in ((right.centre, -1), (left.centre, 1)):
        root = np.array([sign * 16.0, 0.0, 92.0])
        for height in (22, 2, -18):
            tip = np.add(centre, [sign * 18, 10, height])
            middle = (tip + np.array([sign * 20.0, 0.0, 92.0])) / 2
            lung_vessels += vary.hose(np.stack([root, middle, tip]), 3.5)
    return (
        *lobes,
        Structure("heart", tuple(lung_vessels)),
        Structure("heart", (vary.egg((13, -20, 76), (38, 29, 33), (20, 25, 0)),)),
        Structure("airway", airways, ("trachea",)),
        Structure(
            "esophagus",
            vary.hose([[3, 12, 165], [5, 10, 120], [5, 9, 85], [12, 6, 62], [26, -4, 46]], 8.5),
            ("esophagus",),
        ),
    )
