"""Means over cases, with what they hide: counts, the other conventions, confidence intervals."""

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
    dice = scores["dice"].astype(float)
    both_empty = scores["both_empty"].astype(bool)
    has_reference = scores["reference_voxels"] > 0
    averaged: dict[str, pd.Series] = {
        "dice": dice,
        "nsd": scores["nsd"].astype(float),
        "hd95": scores["hd95"].astype(float),
        "dice_both_empty_as_1": dice.where(~both_empty, 1.0),
        "dice_without_empty_reference": dice.where(has_reference),
        "false_positive_lesions": scores["false_positive_lesions"].astype(float),
    }
    summed: dict[str, pd.Series] = {
        "n": dice.notna(),
        "n_both_empty": both_empty,
        "n_false_positive_on_empty": scores["false_positive_on_empty"].astype(bool),
        "n_missed": has_reference & (scores["prediction_voxels"] == 0),
        "detected_lesions": scores["detected_lesions"].astype(float),
    }
    lesions = scores["reference_lesions"].astype(float)
    extra = scores["extra"].eq(True)
    # all groups at once: one by one, pandas would take most of a report's time
    columns = scores[list(MEAN_WITHIN)].assign(**averaged, **summed, lesions=lesions, extra=extra)
    grouped = columns.groupby(list(MEAN_WITHIN), sort=False)
    sums = grouped[list(summed)].sum()
    in_reference = grouped["lesions"].sum(min_count=1)
    summary = grouped[list(averaged)].mean().join(sums)
    summary["reference_lesions"] = in_reference
    summary["lesion_sensitivity"] = sums["detected_lesions"] / in_reference.replace(0.0, np.nan)
    summary["extra"] = grouped["extra"].any()
    values, patients = dice.to_numpy(), scores["patient"].to_numpy()
    bounds = [
        bootstrap_interval(values[rows], patients[rows], resamples)
        for rows in map(grouped.indices.__getitem__, summary.index)
    ]
    summary[["dice_low", "dice_high"]] = np.reshape(bounds, (-1, 2))
    return summary.reset_index()[list(SUMMARY_COLUMNS)]


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
