"""What became of an experiment, stage by stage: trained, predicted, scored, or why not."""

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.folder import ModelFolder

Stage = Literal["training", "prediction", "scoring"]
Status = Literal["finished", "failed", "not run", "needs checkpoint"]

STATUSES_SCHEMA = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("experiment", "status", "reason")
        ),
        pa.field("pool_version", pa.string()),
    ]
)
"""One row per experiment; `reason` says why it failed or was not run, and is empty where it is
finished. `pool_version` is that of the pool it was run on; nothing where that was not recorded."""


class Outcome(FrozenModel):
    """How far an experiment came.

    A stage whose predecessor is not finished does nothing and passes the predecessor's outcome on,
    so the outcome of the last stage speaks for the whole experiment.

    Attributes:
        experiment: its name in the grid.
        stage: the stage that is finished, failed or was not run.
        status: finished, failed, not run, or needs checkpoint (published weights that a user has to
            fetch).
        reason: why it failed or was not run; empty when finished.
        pool_version: version of the pool it was run on; empty in records of before it was kept.
    """

    experiment: str
    stage: Stage
    status: Status
    reason: str = ""
    pool_version: str = ""

    def unfinished(self) -> "Outcome | None":
        """Return what the next stage passes on instead of starting; None where it can start."""
        if self.status == "finished":
            return None
        return Outcome(**{name: getattr(self, name) for name in Outcome.model_fields})

    def next(self, stage: Stage, status: Status, reason: str = "") -> "Outcome":
        """Return the outcome of the next stage of this experiment, which has the same pool."""
        return Outcome(
            experiment=self.experiment,
            stage=stage,
            status=status,
            reason=reason,
            pool_version=self.pool_version,
        )

    def explanation(self) -> str:
        """Say why it is not finished; empty where it is."""
        return f"{self.stage} failed: {self.reason}" if self.status == "failed" else self.reason


class ModelRecord(Outcome):
    """Outcome of one experiment's training, and where its model lies.

    Attributes:
        folder: model folder, relative to the folder of all models.
        digest: digest of everything that decides the weights but the number of epochs.
        epochs: epochs trained.
        cases: keys of the cases to predict; empty, in records of before, means the model's
            validation cases.
        engine: what trained it: this project, or nnU-Net v2, which has predicted its cases, too.
    """

    stage: Stage = "training"
    folder: str = ""
    digest: str = ""
    epochs: int = 0
    cases: tuple[str, ...] = ()
    engine: Literal["native", "nnunetv2"] = "native"

    def model_folder(self, models_root: Path) -> ModelFolder:
        """Return the model folder."""
        return ModelFolder(models_root / self.folder)


def collect_statuses(*outcomes: Outcome) -> pd.DataFrame:
    """List experiments with their status, the reason unless finished, and the pool's version.

    Args:
        outcomes: of the last stage of each experiment.

    Returns:
        Rows of STATUSES_SCHEMA.
    """
    rows = [
        (outcome.experiment, outcome.status, outcome.explanation(), outcome.pool_version or None)
        for outcome in outcomes
    ]
    return pd.DataFrame(rows, columns=STATUSES_SCHEMA.names)
