"""The spacing that a dataset or pool is resampled to, by nnU-Net v1's rule.

experiment_planner_baseline_3DUNet_v21.py:get_target_spacing. The median of each axis; where the
coarsest axis is far coarser than the others and has far fewer voxels, the 10th percentile of that
axis, because half of the cases would else lose slices that they have few of.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat
from tsfm_pipeline.planning.fingerprint import PlanningError
from tsfm_pipeline.preparation.verdict import Verdict

ANISOTROPY = 3
FINE_PERCENTILE = 10
_ABOVE = 1e-5


class TargetSpacing(FrozenModel):
    """A spacing and why it was chosen.

    Attributes:
        spacing: mm (z, y, x).
        reason: in plain words.
    """

    spacing: TripleFloat
    reason: str


class PoolSpacing(FrozenModel):
    """The spacing that all cases of a pool are resampled to, and why.

    Attributes:
        spacing: mm (z, y, x); None keeps each case's own.
        reason: in plain words.
    """

    spacing: TripleFloat | None
    reason: str


def choose_target_spacing(
    spacings: Sequence[TripleFloat], shapes: Sequence[Triple]
) -> TargetSpacing:
    """Apply nnU-Net v1's rule.

    Args:
        spacings: mm (z, y, x) of each case.
        shapes: voxels (z, y, x) of each case's nonzero box, at its own spacing.
    """
    spacing = np.percentile(np.array(spacings), 50, axis=0)
    size = np.percentile(np.array(shapes), 50, axis=0)
    coarsest = int(np.argmax(spacing))
    others = [axis for axis in range(3) if axis != coarsest]
    next_spacing = max(spacing[others])
    reason = f"the median of each axis over {len(spacings)} cases"
    coarse = spacing[coarsest] > ANISOTROPY * next_spacing
    if coarse and size[coarsest] * ANISOTROPY < min(size[others]):
        median = spacing[coarsest]
        finer = np.percentile(np.array(spacings)[:, coarsest], FINE_PERCENTILE)
        spacing[coarsest] = next_spacing + _ABOVE if finer < next_spacing else finer
        reason += (
            f"; axis {'zyx'[coarsest]} is over {ANISOTROPY} times coarser than the others"
            f" ({median:.3g} to {next_spacing:.3g} mm) and has under a third of their voxels,"
            f" so it takes its {FINE_PERCENTILE}th percentile and few cases lose slices"
        )
    z, y, x = spacing.tolist()
    return TargetSpacing(spacing=(z, y, x), reason=reason)


def pool_spacing(
    wanted: TripleFloat | Literal["median"] | None, integrity: pd.DataFrame, pool: Sequence[str]
) -> PoolSpacing:
    """Return the spacing that `preparation.target_spacing` asks for.

    Args:
        wanted: the parameter.
        integrity: the integrity table of all cases.
        pool: the pool's datasets; the downstream ones have no say, so that adding one changes
            nothing.

    Raises:
        PlanningError: the median is asked for, and no case of the pool is usable.
    """
    if wanted is None:
        return PoolSpacing(spacing=None, reason="each case keeps its own")
    if wanted != "median":
        return PoolSpacing(spacing=wanted, reason="fixed by preparation.target_spacing")
    chosen = median_spacing(integrity[integrity["dataset"].isin(pool)])
    return PoolSpacing(spacing=chosen.spacing, reason=chosen.reason)


def median_spacing(rows: pd.DataFrame) -> TargetSpacing:
    """Apply nnU-Net v1's rule to the usable cases of an integrity table.

    Args:
        rows: with `verdict`, and `spacing` and `cropped_shape` as three numbers (z, y, x) each.

    Raises:
        PlanningError: no case is usable.
    """
    usable = rows[rows["verdict"] != Verdict.QUARANTINED]
    if usable.empty:
        raise PlanningError(
            "preparation.target_spacing is `median`, but no case is usable; see the integrity"
            " table, or give numbers"
        )
    spacings = [(float(z), float(y), float(x)) for z, y, x in usable["spacing"]]
    shapes = [(int(z), int(y), int(x)) for z, y, x in usable["cropped_shape"]]
    return choose_target_spacing(spacings, shapes)
