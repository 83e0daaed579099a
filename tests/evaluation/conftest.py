import pandas as pd
import pytest

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORES_SCHEMA
from tsfm_pipeline.evaluation.settings import EvaluationSettings


@pytest.fixture
def settings():
    return EvaluationSettings(tumor_targets=("*_tumor",))


@pytest.fixture
def score_rows():
    """Make the scores of one target, a case per (reference voxels, prediction voxels, Dice)."""

    def make(cases, **names):
        rows = [
            {
                "experiment": "pretrain.tsfm",
                "weights": "best",
                "protocol": AUTOMATIC,
                "dataset": "msd_liver",
                "case": str(i),
                "patient": f"p{i}",
                "target": "liver",
                "dice": dice,
                "reference_voxels": reference,
                "prediction_voxels": prediction,
                "both_empty": reference == prediction == 0,
                "false_positive_on_empty": reference == 0 < prediction,
                **names,
            }
            for i, (reference, prediction, dice) in enumerate(cases)
        ]
        return pd.DataFrame(rows, columns=SCORES_SCHEMA.names)

    return make
