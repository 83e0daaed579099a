"""Scores per experiment, dataset and target, with the means of organs and tumours."""

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, ONLY
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.summary import SUMMARY_COLUMNS, foreground_mean
from tsfm_pipeline.evaluation.threshold import BASELINE

OF_BEST = SUMMARY_COLUMNS[SUMMARY_COLUMNS.index("nsd") : SUMMARY_COLUMNS.index("extra")]
DICE_COLUMNS = (
    "experiment",
    "protocol",
    "dataset",
    "target",
    "kind",
    "best",
    "best_low",
    "best_high",
    "final",
    "threshold",
    *OF_BEST,
)
"""`kind` is organ, tumour, mean or extra (another reading of targets, in no mean); `best_low` and
`best_high` are the confidence interval of `best`, and the columns OF_BEST are those of the best
weights (`evaluation.summary.summarise`). A method without checkpoints has its figure in `final`,
and the columns OF_BEST are its own."""

MEANS = ("best", "final", "threshold", "nsd", "hd95")
COUNTS = ("n", "n_both_empty", "n_false_positive_on_empty", "n_missed")


def dice_summary(summary: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Lay best, final and the threshold baseline side by side, and average organs and tumours.

    Args:
        summary: mean scores with the columns of `evaluation.summary.summarise`; the baseline's
            are matched by dataset and target.
        settings: which targets are tumours.

    Returns:
        Rows with DICE_COLUMNS. After each experiment's targets come its 'mean organ' and 'mean
        tumour', means over the (dataset, target) rows above that have a figure, and for a dataset
        of several targets nnU-Net v2's 'foreground mean'; counts are summed.
    """
    is_baseline = summary["experiment"] == BASELINE
    baseline = summary[is_baseline].set_index(["dataset", "target"])["dice"]
    parts = [
        _experiment(rows, baseline, settings)
        for _, rows in summary[~is_baseline].groupby(["experiment", "protocol"], sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*DICE_COLUMNS])


def experiment_title(experiment: str, protocol: str) -> str:
    """Return the heading of an experiment, which says so where it saw the ground truth."""
    return experiment if protocol == AUTOMATIC else f"{experiment} ({protocol})"


def _experiment(
    rows: pd.DataFrame, baseline: "pd.Series[float]", settings: EvaluationSettings
) -> pd.DataFrame:
    keys = ["dataset", "target"]
    best = rows[rows["weights"] == "best"].set_index(keys)
    final = rows[rows["weights"].isin(("final", ONLY))].set_index(keys)
    shown = final if best.empty else best
    table = shown[["experiment", "protocol", *OF_BEST]].assign(
        best=best["dice"].reindex(shown.index),
        best_low=best["dice_low"].reindex(shown.index),
        best_high=best["dice_high"].reindex(shown.index),
        final=final["dice"].reindex(shown.index),
        threshold=baseline.reindex(shown.index),
        kind=[
            "extra" if extra else "tumour" if settings.is_tumor(str(target)) else "organ"
            for target, extra in zip(
                shown.index.get_level_values("target"), shown["extra"].eq(True), strict=True
            )
        ],
    )
    table = table.reset_index()
    counted = table[table["kind"] != "extra"]
    means = [
        {
            **table.loc[0, ["experiment", "protocol"]],
            "dataset": "",
            "target": f"mean {kind}",
            "kind": "mean",
            **chosen[[*MEANS]].mean(),
            **chosen[[*COUNTS]].sum(),
        }
        for kind, chosen in counted.groupby("kind", sort=True)
    ]
    means_of = foreground_mean(rows.replace({"weights": {ONLY: "final"}}))
    foreground = means_of.set_index(["weights", "dataset"])["dice"]
    means += [
        {
            **table.loc[0, ["experiment", "protocol"]],
            "dataset": dataset,
            "target": "foreground mean",
            "kind": "mean",
            **{name: foreground.get((name, dataset), np.nan) for name in ("best", "final")},
            **chosen[[*COUNTS]].sum(),
        }
        for dataset, chosen in counted.groupby("dataset", sort=False)
        if len(chosen) > 1
    ]
    return pd.concat([table, pd.DataFrame(means)], ignore_index=True)[[*DICE_COLUMNS]]
