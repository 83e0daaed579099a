"""Means over cases, with what they hide: counts, the other conventions, confidence intervals."""

from collections.abc import Hashable

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.statistics import bootstrap_interval

MEAN_WITHIN = ("experiment", "weights", "protocol", "dataset", "target")
"""What a mean is taken within."""

SUMMARY_COLUMNS = (
    *MEAN_WITHIN,
    "dice",
    "dice_low",
    "dice_high",
    "nsd",
    "hd95",
    "n",
    "n_both_empty",
    "n_false_positive_on_empty",
    "n_missed",
    "dice_both_empty_as_1",
    "dice_without_empty_reference",
    "reference_lesions",
    "lesion_sensitivity",
    "false_positive_lesions",
    "extra",
)


def summarise(scores: pd.DataFrame, resamples: int = 2000) -> pd.DataFrame:
    """Average the scores per experiment, weights, protocol, dataset and region.

    Args:
        scores: rows of `metrics.SCORES_SCHEMA`.
        resamples: of the bootstrap behind the confidence intervals.

    Returns:
        Rows with SUMMARY_COLUMNS in order of first appearance:

        - `dice`, `nsd`, `hd95`: means over the cases that have one (nnU-Net's nanmean; NaN when
          none has). A case with one empty mask has Dice and NSD 0, but no HD95: `n_missed` and
          `n_false_positive_on_empty` count what the mean HD95 leaves out.
        - `dice_low`, `dice_high`: 95 % confidence interval of `dice`, patients resampled.
        - `n`: cases with a Dice; `n_both_empty`: cases left out of it.
        - `dice_both_empty_as_1`: mean where a correct empty prediction counts 1 (MONAI's
          DiceMetric with ignore_empty=False).
        - `dice_without_empty_reference`: mean over cases whose reference is not empty (MONAI's
          ignore_empty=True): false positives on empty references cost nothing.
        - `reference_lesions`: their sum; `lesion_sensitivity`: detected of all of them;
          `false_positive_lesions`: per case. NaN where the target is no tumour.
        - `extra`: whether it is another reading of a target, as in the scores.
    """
    rows: list[dict[Hashable, object]] = [
        {**dict(zip(MEAN_WITHIN, names, strict=True)), **_means(group, resamples)}
        for names, group in scores.groupby(list(MEAN_WITHIN), sort=False)
    ]
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def foreground_mean(summary: pd.DataFrame) -> pd.DataFrame:
    """Average the targets' mean Dice per dataset: nnU-Net v2's `foreground_mean`.

    Args:
        summary: rows of `summarise`; extra ones do not count.

    Returns:
        Rows with experiment, weights, protocol, dataset and dice: the mean of the targets' means,
        so that a rare target weighs as much as a frequent one. NaN where a target has no case
        with a Dice, as in nnU-Net.
    """
    grouped = without_extra(summary).groupby(list(MEAN_WITHIN[:-1]), sort=False)["dice"]
    return grouped.agg(lambda values: values.mean(skipna=False)).reset_index()


def _means(group: pd.DataFrame, resamples: int) -> dict[Hashable, object]:
    dice = group["dice"].astype(float)
    has_reference = group["reference_voxels"] > 0
    low, high = bootstrap_interval(dice.to_numpy(), group["patient"].to_numpy(), resamples)
    lesions = group[["reference_lesions", "detected_lesions", "false_positive_lesions"]]
    lesions = lesions.astype(float)
    in_reference = float(lesions["reference_lesions"].sum(min_count=1))
    return {
        "dice": dice.mean(),
        "dice_low": low,
        "dice_high": high,
        "nsd": group["nsd"].astype(float).mean(),
        "hd95": group["hd95"].astype(float).mean(),
        "n": int(dice.count()),
        "n_both_empty": int(group["both_empty"].sum()),
        "n_false_positive_on_empty": int(group["false_positive_on_empty"].sum()),
        "n_missed": int((has_reference & (group["prediction_voxels"] == 0)).sum()),
        "dice_both_empty_as_1": dice.where(~group["both_empty"].astype(bool), 1.0).mean(),
        "dice_without_empty_reference": dice[has_reference].mean(),
        "reference_lesions": in_reference,
        "lesion_sensitivity": (
            lesions["detected_lesions"].sum() / in_reference if in_reference else np.nan
        ),
        "false_positive_lesions": lesions["false_positive_lesions"].mean(),
        "extra": bool(group["extra"].eq(True).any()),
    }
