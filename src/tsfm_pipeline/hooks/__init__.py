"""What happens around every `kedro run`: inputs checked, the run tracked and told, its end, too."""

from tsfm_pipeline.hooks.check_experiments import CheckExperimentsHook
from tsfm_pipeline.hooks.check_parameters import CheckParametersHook
from tsfm_pipeline.hooks.check_raw_data import CheckRawDataHook
from tsfm_pipeline.hooks.exit_status import ExitStatusHook
from tsfm_pipeline.hooks.latest_results import LatestResultsHook
from tsfm_pipeline.hooks.show_settings import ShowSettingsHook
from tsfm_pipeline.hooks.tell_run import TellRunHook
from tsfm_pipeline.hooks.termination import TerminationHook
from tsfm_pipeline.hooks.track_run import TrackRunHook

__all__ = [
    "CheckExperimentsHook",
    "CheckParametersHook",
    "CheckRawDataHook",
    "ExitStatusHook",
    "LatestResultsHook",
    "ShowSettingsHook",
    "TellRunHook",
    "TerminationHook",
    "TrackRunHook",
]
