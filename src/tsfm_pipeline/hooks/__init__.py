"""What happens around every `kedro run`: parameters checked, the run tracked, its end told."""

from tsfm_pipeline.hooks.announce_report import AnnounceReportHook
from tsfm_pipeline.hooks.check_parameters import CheckParametersHook
from tsfm_pipeline.hooks.exit_status import ExitStatusHook
from tsfm_pipeline.hooks.machine_fault import MachineFaultHook
from tsfm_pipeline.hooks.termination import TerminationHook
from tsfm_pipeline.hooks.track_run import TrackRunHook

__all__ = [
    "AnnounceReportHook",
    "CheckParametersHook",
    "ExitStatusHook",
    "MachineFaultHook",
    "TerminationHook",
    "TrackRunHook",
]
