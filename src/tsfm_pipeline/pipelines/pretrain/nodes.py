"""Nodes of the pretrain pipeline that are not experiments of the grid."""

import pandas as pd

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.store.case_store import CaseStore


def score_threshold_baseline(
    pool_store: CaseStore, splits: pd.DataFrame, labels: LabelTable
) -> pd.DataFrame:
    """Score the best intensity interval per target on the held-out cases of the pool."""
    from tsfm_pipeline.evaluation.threshold import BASELINE, threshold_baseline

    pool = splits[splits["pool"]]
    training = list(pool.loc[pool["role"] == "training", "key"])
    held_out = list(pool.loc[pool["role"] == "validation", "key"])
    return threshold_baseline(pool_store, training, held_out, labels, BASELINE)
