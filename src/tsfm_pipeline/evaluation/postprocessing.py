"""Decide where keeping only the largest component helps.

After nnU-Net v1.7.1 `postprocessing/connected_components.py:determine_postprocessing`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tsfm_pipeline.evaluation.metrics import dice
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.postprocessing import (
    PostprocessingRule,
    RegionEvidence,
    foreground_ids,
    keep_largest,
)
from tsfm_pipeline.inference.settings import InferenceSettings

Labels = NDArray[np.uint8]
Case = tuple[str, Sequence[str], Labels, Labels]
"""Key, regions that the case annotates and the model predicts, reference and prediction."""

_Scores = dict[str, list[float]]


def decide_postprocessing(
    cases: Iterable[Case], table: LabelTable, weights_digest: str, prediction: InferenceSettings
) -> PostprocessingRule:
    """Decide a rule on cases that are not the scored ones; one case at a time is in memory.

    First all foreground together: accepted if the mean Dice of some region rises and of none
    falls. It is tried only where all cases have the same regions, because what is largest depends
    on what else there is. Then each region by itself, on top of that: accepted if its mean Dice
    rises and, as our regions may contain others, that of no other falls. One region alone has
    nothing more to decide (nnU-Net). Means leave out cases where both label maps are empty.

    Args:
        cases: see `Case`; the label maps hold fused integers (z, y, x) on one grid.
        table: says what a region contains.
        weights_digest: digest of the weights that predicted, kept with the rule.
        prediction: how they predicted, kept with the rule.
    """
    keys: list[str] = []
    given: list[tuple[str, ...]] = []
    plain, joined = _Trials(), _Trials()
    for key, regions, reference, predicted in cases:
        keys.append(key)
        given.append(tuple(regions))
        plain.add(reference, predicted, regions, table)
        reduced = predicted.copy()
        keep_largest(reduced, foreground_ids(regions, table))
        joined.add(reference, reduced, regions, table)
    same = len({frozenset(regions) for regions in given}) == 1
    raw, all_foreground = _means(plain.dice), _means(joined.dice)
    together = same and _helps(raw, all_foreground)
    trials = joined if together else plain
    alone = {region: (_means(a), _means(b)) for region, (a, b) in trials.reduced.items()}
    accepted = [
        region
        for region, (before, after) in alone.items()
        if len(raw) > 1 and after[region] > before[region] and _helps(before, after)
    ]
    return PostprocessingRule(
        all_foreground=together,
        regions=table.collapse_order(accepted),
        evidence=tuple(
            RegionEvidence(
                region=region,
                cases=int(np.isfinite(plain.dice[region]).sum()),
                before=_or_none(raw[region]),
                after_all=_or_none(all_foreground[region]) if same else None,
                after=_or_none(alone[region][1][region]),
            )
            for region in raw
        ),
        cases=tuple(keys),
        prediction=prediction,
        weights_digest=weights_digest,
    )


class _Trials:
    """Dice of all cases, and what reducing each region by itself makes of them.

    Attributes:
        dice: region -> Dice of each case.
        reduced: region -> the same before and after it is reduced, of the cases that have it.
    """

    def __init__(self) -> None:
        self.dice: _Scores = {}
        self.reduced: dict[str, tuple[_Scores, _Scores]] = {}

    def add(
        self, reference: Labels, prediction: Labels, regions: Sequence[str], table: LabelTable
    ) -> None:
        before = _dice(reference, prediction, regions, table)
        _append(self.dice, before)
        for region in regions:
            reduced = prediction.copy()
            keep_largest(reduced, table.region_ids(region))
            changed = not np.array_equal(reduced, prediction)
            after = _dice(reference, reduced, regions, table) if changed else before
            scores = self.reduced.setdefault(region, ({}, {}))
            _append(scores[0], before)
            _append(scores[1], after)


def _dice(
    reference: Labels, prediction: Labels, regions: Sequence[str], table: LabelTable
) -> dict[str, float]:
    return {
        region: dice(
            np.isin(reference, table.region_ids(region)),
            np.isin(prediction, table.region_ids(region)),
        )
        for region in regions
    }


def _append(scores: _Scores, case: dict[str, float]) -> None:
    for region, value in case.items():
        scores.setdefault(region, []).append(value)


def _means(scores: _Scores) -> dict[str, float]:
    """Mean per region over the cases that have a Dice; NaN where none has."""
    return {
        region: float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        for region, values in scores.items()
    }


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _helps(before: dict[str, float], after: dict[str, float]) -> bool:
    """Tell whether a mean rises and none falls."""
    rises = any(after[region] > before[region] for region in before)
    return rises and not any(after[region] < before[region] for region in before)
