"""Dice per experiment, dataset and target, with the means of organs and tumours."""

import pandas as pd

from tsfm_pipeline.evaluation.metrics import ONLY
from tsfm_pipeline.reporting.settings import ReportingSettings

DICE_COLUMNS = (
    "experiment",
    "dataset",
    "target",
    "kind",
    "best",
    "final",
    "threshold",
    "n",
    "n_empty",
)
"""`kind` is organ, tumour or mean; `n` and `n_empty` are those of the best weights."""


def dice_summary(summary: pd.DataFrame, settings: ReportingSettings) -> pd.DataFrame:
    """Lay best, final and the threshold baseline side by side, and average organs and tumours.

    Args:
        summary: mean scores with the columns of `evaluation.metrics.summarise`; rows whose
            `weights` is 'only' are the baseline, which is matched by dataset and target.
        settings: which targets are tumours.

    Returns:
        Rows with DICE_COLUMNS. After each experiment's targets come its 'mean organ' and 'mean
        tumour': means over the (dataset, target) rows above that have a Dice.
    """
    is_baseline = summary["weights"] == ONLY
    baseline = summary[is_baseline].set_index(["dataset", "target"])["dice"]
    parts = [
        _experiment(str(name), rows, baseline, settings)
        for name, rows in summary[~is_baseline].groupby("experiment", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*DICE_COLUMNS])


def _experiment(
    name: str, rows: pd.DataFrame, baseline: "pd.Series[float]", settings: ReportingSettings
) -> pd.DataFrame:
    keys = ["dataset", "target"]
    best = rows[rows["weights"] == "best"].set_index(keys)
    final = rows[rows["weights"] == "final"].set_index(keys)
    table = best[["n", "n_empty"]].assign(
        experiment=name,
        best=best["dice"],
        final=final["dice"].reindex(best.index),
        threshold=baseline.reindex(best.index),
        kind=[
            "tumour" if settings.is_tumor(str(target)) else "organ"
            for target in best.index.get_level_values("target")
        ],
    )
    table = table.reset_index()
    for kind in ("organ", "tumour"):
        chosen = table[table["kind"] == kind]
        if not chosen.empty:
            means = chosen[["best", "final", "threshold"]].mean()
            mean_row = {
                "experiment": name,
                "dataset": "",
                "target": f"mean {kind}",
                "kind": "mean",
                "n": chosen["n"].sum(),
                "n_empty": chosen["n_empty"].sum(),
                **means,
            }
            table = pd.concat([table, pd.DataFrame([mean_row])], ignore_index=True)
    return table[[*DICE_COLUMNS]]
