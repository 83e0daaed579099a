"""Keep only the largest component, where a recorded rule says that this helps.

After nnU-Net v1.7.1 `postprocessing/connected_components.py`. `evaluation.postprocessing` decides
the rule; here it is applied.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.labels import BACKGROUND, LabelTable
from tsfm_pipeline.inference.settings import InferenceSettings


class RegionEvidence(FrozenModel):
    """Mean Dice of one region over the cases that have one; None where none has.

    Attributes:
        region: its name.
        cases: cases with a Dice.
        before: without postprocessing.
        after_all: after keeping the largest component of all foreground together; None also
            where that was not tried.
        after: after keeping the region's largest component, too.
    """

    region: str
    cases: int
    before: float | None
    after_all: float | None
    after: float | None


class PostprocessingRule(FrozenModel):
    """What is reduced to its largest component, and why.

    Attributes:
        all_foreground: whether all regions of `evidence` together are, first.
        regions: regions that are, each by itself.
        evidence: the mean Dice that decided it.
        cases: keys of the cases it was decided on; none of them is scored.
        prediction: how they were predicted.
        weights_digest: digest of the weights it was decided for.
    """

    all_foreground: bool
    regions: tuple[str, ...]
    evidence: tuple[RegionEvidence, ...]
    cases: tuple[str, ...]
    prediction: InferenceSettings
    weights_digest: str

    @classmethod
    def read(cls, path: Path) -> "PostprocessingRule | None":
        """Read the rule from its file in a model folder; None where there is none."""
        return cls.model_validate_json(path.read_bytes()) if path.exists() else None


def keep_largest(labels_ZYX: NDArray[np.uint8], ids: Sequence[int]) -> None:
    """Make all but the largest component of some labels together background, in place.

    Voxels are connected through faces (6 neighbours); of several largest ones all are kept
    (nnU-Net `remove_all_but_the_largest_connected_component`).
    """
    mask_ZYX = np.isin(labels_ZYX, ids)
    (box,) = ndimage.find_objects(mask_ZYX.view(np.uint8)) or (None,)
    if box is None:
        return
    components_ZYX, _ = ndimage.label(mask_ZYX[box])
    sizes = np.bincount(components_ZYX.ravel())
    sizes[0] = 0
    removed = sizes < sizes.max()
    removed[0] = False
    labels_ZYX[box][removed[components_ZYX]] = BACKGROUND


def postprocess(
    labels_ZYX: NDArray[np.uint8],
    rule: PostprocessingRule,
    regions: Sequence[str],
    table: LabelTable,
) -> None:
    """Apply a rule in place: all foreground together, then region by region, outer ones first.

    Args:
        labels_ZYX: fused label integers.
        rule: what to reduce.
        regions: the regions that were predicted. The rule on all foreground holds for exactly
            those it was decided on: with others, other components are the largest.
        table: says what a region contains.
    """
    if rule.all_foreground and set(regions) == {row.region for row in rule.evidence}:
        keep_largest(labels_ZYX, foreground_ids(regions, table))
    for region in table.collapse_order(regions):
        if region in rule.regions:
            keep_largest(labels_ZYX, table.region_ids(region))


def foreground_ids(regions: Sequence[str], table: LabelTable) -> tuple[int, ...]:
    """Return the integers that belong to any of the regions."""
    return tuple(sorted({value for region in regions for value in table.region_ids(region)}))
