"""Where runs are tracked."""

from tsfm_pipeline.frozen import FrozenModel


class TrackingSettings(FrozenModel):
    """Where runs are tracked.

    Attributes:
        uri: MLflow tracking URI; null is the project's own `mlflow.db` (SQLite). The environment
            variable MLFLOW_TRACKING_URI wins over both.
        experiment: name of the MLflow experiment.
    """

    uri: str | None = None
    experiment: str = "tsfm"
