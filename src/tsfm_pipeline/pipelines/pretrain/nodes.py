"""Nodes of the pretrain pipeline that are not experiments of the grid."""

import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.store.case_store import CaseStore


def score_threshold_baseline(
    pool_store: CaseStore, splits: pd.DataFrame, labels: LabelTable
) -> pd.DataFrame:
    """Score the best intensity interval per target on the held-out cases of the pool."""
    from tsfm_pipeline.evaluation.threshold import BASELINE, threshold_baseline
    from tsfm_pipeline.pool.roles import scored_role

    pool = splits[splits["pool"]]
    training = list(pool.loc[pool["role"] == "training", "key"])
    held_out = list(pool.loc[pool["role"] == scored_role(splits), "key"])
    return threshold_baseline(pool_store, training, held_out, labels, BASELINE)


def score_sam_med3d(
    experiments: ExperimentSettings,
    datasets: Datasets,
    case_index: pd.DataFrame,
    splits: pd.DataFrame,
    labels: LabelTable,
    evaluation: EvaluationSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Prompt SAM-Med3D's published weights on the held-out cases of the pool; return the status."""
    from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA
    from tsfm_pipeline.experiments.grid import PROMPTED
    from tsfm_pipeline.experiments.outcome import Outcome, collect_statuses
    from tsfm_pipeline.experiments.prompted_run import run_prompted
    from tsfm_pipeline.pool.roles import scored_role
    from tsfm_pipeline.sources.case_index import case_from_row
    from tsfm_pipeline.training.device import choose_device

    pool_version = str(splits["pool_version"].iat[0])
    reason = experiments.why_not_prompted()
    checkpoint = experiments.methods["sam_med3d"].checkpoint
    if reason is not None or checkpoint is None:
        outcome = Outcome(
            experiment=PROMPTED,
            stage="scoring",
            status="needs checkpoint" if checkpoint is None else "not run",
            reason=str(reason),
            pool_version=pool_version,
        )
        return pd.DataFrame(columns=SCORES_SCHEMA.names), collect_statuses(outcome)
    held_out = set(splits.loc[splits["pool"] & (splits["role"] == scored_role(splits)), "key"])
    cases = [case_from_row(row) for _, row in case_index.iterrows()]
    scores, outcome = run_prompted(
        PROMPTED,
        checkpoint,
        [case for case in cases if case.key in held_out],
        datasets.root,
        labels,
        evaluation,
        choose_device(experiments.pretrain.training),
    )
    outcome = outcome.model_copy(update={"pool_version": pool_version})
    return scores, collect_statuses(outcome)
