from pathlib import Path

import pandas as pd
import pytest
import yaml

from tsfm_pipeline.evaluation.metrics import AUTOMATIC
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.summary import SUMMARY_COLUMNS
from tsfm_pipeline.reporting.paper_tables import PaperTables

BASE = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture(scope="session")
def base_parameters():
    parameters = {}
    for name in ("paper_tables", "experiments"):
        parameters |= yaml.safe_load((BASE / f"parameters_{name}.yml").read_text())
    return parameters


@pytest.fixture(scope="session")
def tables(base_parameters):
    return PaperTables.model_validate(base_parameters["paper_tables"]).root


@pytest.fixture(scope="session")
def evaluation(base_parameters):
    return EvaluationSettings.model_validate(base_parameters["evaluation"])


@pytest.fixture
def summary_of():
    """Make a summary from (experiment, weights, dataset, target, dice) rows of 4 cases each."""
    counts = {"n": 4, "n_both_empty": 1, "n_false_positive_on_empty": 0, "n_missed": 2}

    def make(*rows, **others):
        names = ("experiment", "weights", "dataset", "target", "dice")
        filled = [
            {**dict(zip(names, row, strict=True)), "protocol": AUTOMATIC, **counts, **others}
            for row in rows
        ]
        return pd.DataFrame(filled, columns=list(SUMMARY_COLUMNS))

    return make
