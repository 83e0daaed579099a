"""Kedro's project settings: hooks and how configuration is merged."""

import os

from kedro.config import OmegaConfigLoader

from tsfm_pipeline.hooks import CheckParametersHook, TrackRunHook

# Before torch loads its threads: beside another busy process, threads that spin while they wait
# make a training step on the CPU many times slower (benchmarks/thread_waiting.py).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HOOKS = (CheckParametersHook(), TrackRunHook())

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # An environment states only what differs: nested keys are merged, lists are replaced.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "catalog": "soft"},
}
