from pathlib import Path

import pandas as pd
import pytest
import yaml

from tsfm_pipeline.evaluation.metrics import SUMMARY_COLUMNS
from tsfm_pipeline.reporting.paper_tables import PaperTables

BASE = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture(scope="session")
def base_parameters():
    parameters = {}
    for name in ("paper_tables", "reporting"):
        parameters |= yaml.safe_load((BASE / f"parameters_{name}.yml").read_text())
    return parameters


@pytest.fixture(scope="session")
def tables(base_parameters):
    return PaperTables.model_validate(base_parameters["paper_tables"]).root


@pytest.fixture
def summary_of():
    """Make a summary from (experiment, weights, dataset, target, dice) rows of 4 cases each."""

    def make(*rows):
        return pd.DataFrame([(*row, 4, 1) for row in rows], columns=list(SUMMARY_COLUMNS))

    return make
