"""Dice scores of label maps, and their means."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import LabelTable

SCORE_COLUMNS = (
    "experiment",
    "weights",
    "dataset",
    "case",
    "target",
    "dice",
    "reference_voxels",
    "prediction_voxels",
)
"""One row per experiment, weights (best, final or only), case and region; `target` names the
region."""

SUMMARY_COLUMNS = ("experiment", "weights", "dataset", "target", "dice", "n", "n_empty")

ONLY = "only"
"""The `weights` of a method that has no checkpoints."""


def dice(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """Return 2 |A and B| / (|A| + |B|) of two masks of one shape.

    nnU-Net's convention (`evaluation/metrics.py`): NaN when both are empty, 0 when one is.
    """
    shared = int(np.count_nonzero(reference & prediction))
    return _dice(shared, int(np.count_nonzero(reference)), int(np.count_nonzero(prediction)))


def score_case(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    regions: Sequence[str],
    table: LabelTable,
) -> list[dict[str, str | int | float]]:
    """Score every region of one case from one joint histogram of the two label maps.

    Args:
        reference: fused label integers (z, y, x); voxels outside the nonzero mask belong to none.
        prediction: fused label integers on the same grid.
        regions: the regions that the case annotates.
        table: says which integers a region joins.

    Returns:
        A row per region: target (its plain name), dice, reference_voxels, prediction_voxels.

    Raises:
        ValueError: the maps have different shapes.
    """
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference {reference.shape} and prediction {prediction.shape} lie on different"
            " grids; export the prediction to the reference's grid first"
        )
    pairs = reference.astype(np.uint16).ravel() * 256 + prediction.ravel()
    joint = np.bincount(pairs, minlength=256 * 256).reshape(256, 256)
    rows: list[dict[str, str | int | float]] = []
    for region in regions:
        ids = list(table.region_ids(region))
        in_reference, in_prediction = int(joint[ids].sum()), int(joint[:, ids].sum())
        shared = int(joint[np.ix_(ids, ids)].sum())
        rows.append(
            {
                "target": table.plain_name(region),
                "dice": _dice(shared, in_reference, in_prediction),
                "reference_voxels": in_reference,
                "prediction_voxels": in_prediction,
            }
        )
    return rows


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average the Dice per experiment, weights, dataset and region.

    Args:
        scores: rows with SCORE_COLUMNS.

    Returns:
        Rows with SUMMARY_COLUMNS in order of first appearance: `dice` is the mean over the `n`
        cases that have one (nnU-Net's nanmean; NaN when none has), `n_empty` counts the cases
        left out of it because reference and prediction are both empty.
    """
    keys = list(SUMMARY_COLUMNS[:4])
    if scores.empty:
        return pd.DataFrame(columns=list(SUMMARY_COLUMNS))
    grouped = scores.groupby(keys, sort=False)["dice"]
    summary = grouped.agg(dice="mean", n="count", rows="size").reset_index()
    summary["n_empty"] = summary["rows"] - summary["n"]
    return summary[list(SUMMARY_COLUMNS)]


def _dice(shared: int, in_reference: int, in_prediction: int) -> float:
    total = in_reference + in_prediction
    return 2.0 * shared / total if total else float("nan")
