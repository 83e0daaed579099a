"""Kedro's project settings: hooks and how configuration is merged."""

import os
import warnings

from kedro.config import OmegaConfigLoader
from kedro.utils import KedroExperimentalWarning

from tsfm_pipeline.hooks import (
    CheckExperimentsHook,
    CheckParametersHook,
    CheckRawDataHook,
    ExitStatusHook,
    LatestResultsHook,
    ShowSettingsHook,
    TellRunHook,
    TerminationHook,
    TrackRunHook,
)

# Before torch loads its threads: beside other busy processes, threads that spin while they wait
# slow a training step on the CPU (benchmarks/thread_waiting.py). On a machine of your own
# OMP_WAIT_POLICY=ACTIVE may be a little faster.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The drawing beside a training in Kedro-Viz is made by a feature that Kedro calls experimental.
warnings.filterwarnings("ignore", "The 'preview_fn' feature", KedroExperimentalWarning)

HOOKS = (
    CheckParametersHook(),
    ShowSettingsHook(),
    CheckRawDataHook(),
    CheckExperimentsHook(),
    TrackRunHook(),
    LatestResultsHook(),
    TellRunHook(),
    ExitStatusHook(),
    TerminationHook(),
)

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment states only what differs: nested keys are merged, lists are replaced.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
}
