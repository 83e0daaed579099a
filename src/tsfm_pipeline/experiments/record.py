"""What is kept of one experiment: where its model lies, or why there is none or no scores."""

from pathlib import Path
from typing import Literal

import pandas as pd

from tsfm_pipeline.frozen import FrozenModel

Status = Literal["finished", "failed", "not run"]


class ModelRecord(FrozenModel):
    """Outcome of one experiment's training.

    Attributes:
        experiment: its name in the grid.
        status: finished, failed or not run.
        reason: why it failed or was not run; empty when finished.
        folder: model folder, relative to the folder of all models.
        digest: digest of everything that decides the weights but the number of epochs.
        epochs: epochs trained.
    """

    experiment: str
    status: Status
    reason: str = ""
    folder: str = ""
    digest: str = ""
    epochs: int = 0

    def path(self, models_root: Path) -> Path:
        """Return the model folder."""
        return models_root / self.folder


def prediction_problem(predictions: pd.DataFrame) -> str:
    """Return why the prediction of an experiment failed; empty where it did not.

    Args:
        predictions: rows of `prediction_run.run_prediction`.
    """
    for key, problem in zip(predictions["key"], predictions["problem"], strict=True):
        if problem:
            return f"prediction of {key or 'its cases'} failed: {problem}"
    return ""
