"""Organs below the diaphragm, and the great vessels."""

import numpy as np

from tsfm_pipeline.phantom.anatomy import Structure
from tsfm_pipeline.phantom.shapes import Common, Solid
from tsfm_pipeline.phantom.variation import Variation


def bowel(vary: Variation) -> tuple[Structure, ...]:
    """Colon frame with gas, small bowel, duodenum, stomach."""
    colon = vary.hose(
        [
            [-62, 0, -98],
            [-80, 8, -82],
            [-80, -2, -52],
            [-62, -42, -42],
            [0, -46, -40],
            [56, -40, -30],
            [80, -6, -16],
            [82, 12, -50],
            [74, 8, -86],
            [34, 8, -96],
            [8, 34, -104],
            [0, 40, -130],
            [0, 38, -165],
        ],
        13,
    )
    gas = [vary.egg((x, -50, -34), (12, 7, 8)) for x in (-30, 24)]
    small = vary.hose(
        [
            [42, -22, -58],
            [14, -34, -66],
            [-26, -26, -62],
            [-44, 0, -66],
            [-12, 4, -74],
            [24, 4, -72],
            [46, 2, -62],
        ],
        11,
    )
    return (
        Structure("small_bowel", small, ("small_bowel",)),
        Structure("colon", colon, ("colon",)),
        Structure("gas", tuple(gas), ("colon",)),
        Structure(
            "duodenum",
            vary.hose(
                [[-8, -30, -4], [-36, -16, -12], [-44, -4, -28], [-30, 2, -42], [10, 2, -44]], 9.5
            ),
            ("duodenum",),
        ),
        Structure(
            "stomach",
            vary.hose(
                [[34, -6, 42], [46, -22, 32], [42, -36, 12], [18, -40, 0], [-6, -32, -4]],
                [17, 21, 19, 14, 11],
            ),
            ("stomach",),
        ),
    )


def upper_abdomen(vary: Variation) -> tuple[Structure, ...]:
    """Liver with its vessels, gallbladder, spleen, kidneys."""
    liver = vary.egg((-43, -14, 24), (53, 45, 39), (0, 12, 0))
    hub = np.asarray(liver.centre) + vary.rng.uniform(-3, 3, 3)
    branches: list[Solid] = []
    for tip in ([-30, -4, 16], [-26, 12, -14], [8, -22, 18], [24, 8, 20]):
        branches += vary.hose(
            [hub, hub + np.asarray(tip) * 0.55, hub + np.asarray(tip)], [7.5, 7, 5.5]
        )
    return (
        Structure("liver", (liver,), ("liver",)),
        Structure(
            "hepatic_vessel",
            tuple(Common((branch, liver)) for branch in branches),
            ("hepatic_vessel", "liver"),
        ),
        Structure(
            "gallbladder", (vary.egg((-36, -40, -14), (13, 14, 19), (20, 0, 0)),), ("gallbladder",)
        ),
        Structure("spleen", (vary.egg((72, 18, 32), (20, 31, 29), (15, -10, 0)),), ("spleen",)),
        Structure(
            "kidney_right",
            (vary.egg((-55, 38, -30), (20, 17, 30), (0, 10, 0)),),
            ("kidney_right", "kidney"),
        ),
        Structure(
            "kidney_left",
            (vary.egg((55, 38, -22), (20, 17, 30), (0, -10, 0)),),
            ("kidney_left", "kidney"),
        ),
    )


def pelvis(vary: Variation, with_uterus: bool) -> tuple[Structure, ...]:
    """Bladder, and prostate or uterus (one target)."""
    if with_uterus:
        centre, semi_axes, name = (0, 16, -114), (24, 16, 21), "uterus"
        bladder = (0, -22, -116)
    else:
        centre, semi_axes, name = (0, 4, -136), (21, 18, 16), "prostate"
        bladder = (0, -18, -106)
    own = vary.egg(centre, semi_axes)
    return (
        Structure("urinary_bladder", (vary.egg(bladder, (31, 22, 23)),), ("urinary_bladder",)),
        Structure(name, (own,), ("prostate_or_uterus",)),
    )


def vessels(vary: Variation) -> tuple[Structure, ...]:
    """Aorta with its arch, inferior vena cava, portal and splenic vein, iliac arteries."""
    return (
        Structure("iliac", vary.hose([[7, 24, -72], [30, 20, -100], [52, 4, -150]], 7)),
        Structure("iliac", vary.hose([[5, 24, -72], [-30, 20, -100], [-52, 4, -150]], 7)),
        Structure(
            "aorta",
            vary.hose(
                [
                    [7, 25, -75],
                    [8, 24, -20],
                    [10, 27, 40],
                    [12, 30, 90],
                    [10, 24, 122],
                    [0, 2, 132],
                    [-8, -14, 118],
                    [-4, -18, 92],
                ],
                9.5,
            ),
            ("aorta",),
        ),
        Structure(
            "inferior_vena_cava",
            vary.hose([[-14, 24, -80], [-14, 23, -20], [-15, 20, 25], [-14, 2, 66]], 9.5),
            ("inferior_vena_cava",),
        ),
        Structure("iliac", vary.hose([[-10, -8, 76], [-16, -2, 110], [-18, -2, 165]], 8)),
    )


def glands(vary: Variation) -> tuple[Structure, ...]:
    """Pancreas, the vein behind it, adrenals."""
    return (
        Structure(
            "pancreas",
            vary.hose(
                [[-24, -6, -20], [-8, -11, -10], [18, -8, 0], [50, 8, 10]], [14, 11.5, 11, 10.5]
            ),
            ("pancreas",),
        ),
        Structure(
            "portal_vein_and_splenic_vein",
            vary.hose([[58, 18, 26], [32, 10, 16], [6, 4, 6], [-14, -2, 10], [-32, -8, 18]], 7.5),
            ("portal_vein_and_splenic_vein",),
        ),
        Structure(
            "adrenal_gland_right",
            (vary.egg((-35, 30, 8), (8.5, 8, 14), (0, 20, 0), 2.0),),
            ("adrenal_gland_right",),
        ),
        Structure(
            "adrenal_gland_left",
            (vary.egg((33, 29, 16), (8.5, 8, 14), (0, -20, 0), 2.0),),
            ("adrenal_gland_left",),
        ),
    )
