"""Experiments whose figures come from another version of the pool than the current one."""

from collections.abc import Iterable, Mapping

import pandas as pd

from tsfm_pipeline.evaluation.threshold import BASELINE

STALE = "stale"
"""Status of a figure from another version of the pool."""

MARK = "†"
"""Stands behind such a figure."""

BASELINE_RUNS_WITH = "pretrain.tsfm"
"""The baseline has no status of its own; it is scored in every run of this one's pipeline."""


def stale_experiments(statuses: pd.DataFrame, pool: str) -> dict[str, str]:
    """Find what was run on another version of the pool.

    Args:
        statuses: experiment, status and pool_version of each experiment; a version that is missing
            or empty is unknown, and not taken for stale. Nor is what was not run.
        pool: the current version.

    Returns:
        Experiment -> the version that it was run on.
    """
    versions = dict(zip(statuses["experiment"], _versions(statuses), strict=True))
    baseline = versions.get(BASELINE_RUNS_WITH, "")
    run = statuses.loc[statuses["status"].isin(("finished", "failed")), "experiment"]
    versions = {name: versions[name] for name in run} | {BASELINE: baseline}
    return {name: version for name, version in versions.items() if version not in ("", pool)}


def stale_notes(
    experiments: Iterable[str], stale: Mapping[str, str], pool: str, options: str = ""
) -> list[str]:
    """Say which version marked figures come from and how to make them anew.

    Args:
        experiments: those that are shown; the ones that are not stale are passed over.
        stale: of `stale_experiments`.
        pool: the current version.
        options: of `kedro run`, for its environment and parameters.

    Returns:
        A sentence per version and pipeline.
    """
    found = {(stale[name], pipeline_of(name)): None for name in experiments if name in stale}
    return [
        f"{MARK} from pool `{version}`, not run again on pool `{pool}`:"
        f" run `kedro run{options} --pipelines {pipeline}`."
        for version, pipeline in found
    ]


def unknown_pipelines(statuses: pd.DataFrame) -> list[str]:
    """Return the pipelines whose experiments were finished before the version was recorded."""
    unknown = (statuses["status"] == "finished") & (_versions(statuses) == "")
    return list(dict.fromkeys(map(pipeline_of, statuses.loc[unknown, "experiment"])))


def pipeline_of(experiment: str) -> str:
    """Return the pipeline that an experiment belongs to, which its name starts with."""
    return experiment.partition(".")[0]


def _versions(statuses: pd.DataFrame) -> "pd.Series[str]":
    return statuses["pool_version"].fillna("").astype(str)
