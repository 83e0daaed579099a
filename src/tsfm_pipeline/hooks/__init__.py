"""What happens around every `kedro run`: parameters checked first, the run tracked in MLflow."""

from tsfm_pipeline.hooks.check_parameters import CheckParametersHook
from tsfm_pipeline.hooks.track_run import TrackRunHook

__all__ = ["CheckParametersHook", "TrackRunHook"]
