"""The torso's frame: skin, fat, muscle, bones and breasts."""

import numpy as np

from tsfm_pipeline.phantom.anatomy import Structure
from tsfm_pipeline.phantom.shapes import FAR, Ellipsoid, Solid, as_point, tube
from tsfm_pipeline.phantom.variation import Variation


def frame(vary: Variation, with_breasts: bool) -> tuple[Structure, ...]:
    """Skin to bones: fat, muscle, the cavity, breasts, spine, ribs, pelvis."""
    trunk = Ellipsoid((0, 0, 0), (113, 79, FAR))
    breasts: list[Structure] = []
    if with_breasts:
        sides = [vary.egg((side * 52, -80, 88), (37, 38, 37)) for side in (-1, 1)]
        glands = [
            Ellipsoid(egg.centre, as_point(np.multiply(egg.semi_axes, 0.68)), egg.angles)
            for egg in sides
        ]
        vessels = [
            part
            for egg in sides
            for part in vary.hose(
                np.add(egg.centre, [[-20, 8, 22], [-14, -16, 4], [-4, -12, -22]]), 3.5
            )
        ]
        breasts = [
            Structure("fat", tuple(sides), ("breast",)),
            Structure("breast_gland", tuple(glands), ("breast",)),
            Structure("breast_vessel", tuple(vessels), ("breast",)),
        ]
    ribs: list[Solid] = []
    for level in range(6):
        turn = np.linspace(-0.35 * np.pi, 1.35 * np.pi, 15)
        height = 140 - 17 * level + 9 * np.sin(turn)
        ring = np.stack([99 * np.cos(turn), 66 * np.sin(turn), height], axis=1)
        ribs.extend(tube(ring, 4.0, pieces=1))
    pelvis: list[Solid] = []
    for side in (-1, 1):
        pelvis.append(vary.egg((side * 78, 22, -108), (11, 32, 34), (0, side * 15, 0)))
        pelvis.append(vary.egg((side * 74, 0, -142), (19, 19, 19)))
    return (
        Structure("fat", (trunk,)),
        *breasts,
        Structure("muscle", (Ellipsoid((0, 1, 0), (104, 70, FAR)),)),
        Structure("fat", (Ellipsoid((0, -1, 0), (95, 61, FAR)),)),
        Structure(
            "muscle",  # beside the spine, and the psoas
            (
                *vary.hose([[32, 54, -160], [31, 54, 0], [29, 53, 160]], 14),
                *vary.hose([[-32, 54, -160], [-31, 54, 0], [-29, 53, 160]], 14),
                *vary.hose([[58, 10, -130], [34, 34, -60], [26, 40, -20]], 12),
                *vary.hose([[-58, 10, -130], [-34, 34, -60], [-26, 40, -20]], 12),
            ),
        ),
        Structure("bone", (*ribs, *pelvis)),
        Structure("bone", vary.hose([[0, 54, -160], [0, 46, -60], [0, 52, 40], [0, 52, 160]], 16)),
        Structure(
            "spinal_canal", vary.hose([[0, 63, -160], [0, 58, -60], [0, 63, 40], [0, 63, 160]], 6)
        ),
    )
