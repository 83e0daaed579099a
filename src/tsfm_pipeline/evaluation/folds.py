"""The scores of a cross-validation: every case is scored by the training that held it out."""

from collections.abc import Mapping

import pandas as pd

from tsfm_pipeline.evaluation.summary import MEAN_WITHIN


class FoldError(ValueError):
    """Scores that are not those of the folds of one cross-validation."""


def pool_folds(scores: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, str]]:
    """Join the scores of several folds, so that means are over all cases, as nnU-Net's are.

    Args:
        scores: workspace -> rows of `metrics.SCORES_SCHEMA`, of a fold each.

    Returns:
        The rows of the experiments that all folds have, fold after fold; and, of every other
        experiment, the workspace that lacks it: a mean over some folds would be of other cases.

    Raises:
        FoldError: two folds have scored one case.
    """
    names = {workspace: set(rows["experiment"]) for workspace, rows in scores.items()}
    everywhere = set.intersection(*names.values())
    lacking = {
        experiment: next(workspace for workspace, found in names.items() if experiment not in found)
        for experiment in sorted(set.union(*names.values()) - everywhere)
    }
    pooled = pd.concat(
        [rows.assign(workspace=workspace) for workspace, rows in scores.items()], ignore_index=True
    )
    pooled = pooled[pooled["experiment"].isin(everywhere)]
    twice = pooled[pooled.duplicated([*MEAN_WITHIN, "case"], keep=False)]
    if not twice.empty:
        row = twice.iloc[0]
        same = (twice["dataset"] == row["dataset"]) & (twice["case"] == row["case"])
        raise FoldError(
            f"{' and '.join(dict.fromkeys(twice.loc[same, 'workspace']))} have both scored"
            f" {row['dataset']}/{row['case']} with {row['experiment']}; the folds of a"
            " cross-validation share no case: run each with another splits.fold"
        )
    return pooled.drop(columns="workspace").reset_index(drop=True), lacking
