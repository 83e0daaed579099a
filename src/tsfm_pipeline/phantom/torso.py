"""The torso: about 240 x 170 x 300 mm, every organ of the fused label table.

Toy proportions: adrenals, oesophagus and vessels are thicker than life so that they survive
voxels of 6 mm. Targets follow the names of the fused label table.
"""

import numpy as np

from tsfm_pipeline.phantom.abdomen import bowel, glands, pelvis, upper_abdomen, vessels
from tsfm_pipeline.phantom.anatomy import Structure
from tsfm_pipeline.phantom.chest import chest
from tsfm_pipeline.phantom.frame import frame
from tsfm_pipeline.phantom.variation import Variation


def build_torso(
    rng: np.random.Generator, with_breasts: bool, with_uterus: bool
) -> tuple[Structure, ...]:
    """Return one patient's organs in painting order.

    Args:
        rng: source of every difference between patients.
        with_breasts: breasts that protrude to the front.
        with_uterus: a uterus behind the bladder instead of a prostate below it.
    """
    vary = Variation(rng)
    return (
        *frame(vary, with_breasts),
        *chest(vary),
        *bowel(vary),
        *upper_abdomen(vary),
        *pelvis(vary, with_uterus),
        *vessels(vary),
        *glands(vary),
    )
