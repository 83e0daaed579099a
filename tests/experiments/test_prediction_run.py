"""Prediction of an experiment that has no model, or whose model cannot be used."""

import logging
from pathlib import Path

import pytest

from tsfm_pipeline.experiments.prediction_run import PREDICTION_COLUMNS, run_prediction
from tsfm_pipeline.experiments.record import ModelRecord
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.settings import PredictionSettings
from tsfm_pipeline.store.case_store import CaseStore


@pytest.mark.parametrize("status", ["finished", "failed", "not run"])
def test_no_usable_model_gives_no_rows_and_no_error(status, tmp_path: Path, caplog) -> None:
    record = ModelRecord(experiment="pretrain.tsfm", status=status, folder="absent", digest="d")
    with caplog.at_level(logging.ERROR):
        rows = run_prediction(
            record,
            PredictionSettings(),
            LabelTable(targets={"liver": 5}),
            CaseStore(tmp_path / "store"),
            tmp_path / "models",
            tmp_path / "predictions",
        )
    assert rows.empty
    assert list(rows.columns) == list(PREDICTION_COLUMNS)
    # only a model that should be there is worth an error
    assert ("Prediction of pretrain.tsfm failed" in caplog.text) == (status == "finished")
    assert not (tmp_path / "predictions").exists()
