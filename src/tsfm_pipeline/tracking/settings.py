"""Where runs are tracked."""

from importlib.util import find_spec

from pydantic import field_validator

from tsfm_pipeline.frozen import FrozenModel


class TrackingSettings(FrozenModel):
    """Where runs are tracked.

    Attributes:
        uri: MLflow tracking URI; null is the project's own `mlflow.db` (SQLite). The environment
            variable MLFLOW_TRACKING_URI wins over both.
        experiment: first part of the names of the two MLflow experiments: `<experiment> runs` has
            a run for every `kedro run`, `<experiment> trainings` one for every training.
        system_metrics: whether MLflow samples processor, memory, disk and GPU during trainings.
    """

    uri: str | None = None
    experiment: str = "tsfm"
    system_metrics: bool = False

    @field_validator("system_metrics")
    @classmethod
    def _psutil_is_there(cls, given: bool) -> bool:
        if given and find_spec("psutil") is None:
            raise ValueError("system metrics are sampled with psutil; run `pip install psutil`")
        return given
