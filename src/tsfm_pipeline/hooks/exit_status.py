"""Let a run that went wrong in part end with exit status 1, for batch systems and their chains."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

logger = logging.getLogger(__name__)

SCREEN = "screen"


class ExitStatusHook:
    """Exit status 1 where `failures` of this run are found; its last log lines name them."""

    @hook_impl(trylast=True)  # the tracked run is closed first
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Look at what the run has written."""
        found = failures(run_params, pipeline, catalog)
        for failure in found:
            logger.error("Exit status 1: %s", failure)
        if found:
            raise SystemExit(1)


def failures(run_params: dict[str, Any], pipeline: Pipeline, catalog: Any) -> list[str]:
    """Say what a run that came to its end could not do.

    Only what the run's own nodes have written counts, so a report over the failures of earlier
    runs is no failure. Nor is an experiment that was not run.

    Args:
        run_params: Kedro's.
        pipeline: the nodes of the run.
        catalog: what they have written.

    Returns:
        Sentences: experiments that failed, with the stage and the cause; scans that the `predict`
        pipeline could not segment; quarantined cases, but only of a run that only screens. A pool
        without its bad cases is a sound pool.
    """
    from tsfm_pipeline.catalog import RecordDataset
    from tsfm_pipeline.experiments.outcome import Outcome
    from tsfm_pipeline.preparation.verdict import Verdict
    from tsfm_pipeline.scans.problem import ProblemKind

    found = []
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        if isinstance(dataset, RecordDataset) and issubclass(dataset.model, Outcome):
            outcome = catalog.load(name)
            if outcome.status == "failed":
                found.append(f"{outcome.experiment}: {outcome.explanation()}")
        elif name == "pretrain_sam_med3d_statuses":  # it leaves no other outcome
            rows = catalog.load(name)
            failed_rows = rows[rows["status"] == "failed"]
            found += [f"{row.experiment}: {row.reason}" for row in failed_rows.itertuples()]
        elif name == "prediction_problems":
            failed = int((catalog.load(name)["verdict"] == ProblemKind.FAILED).sum())
            if failed:
                found.append(f"{failed} scans or files could not be segmented, see {name}.csv")
        elif name == "integrity" and list(run_params.get("tags") or ()) == [SCREEN]:
            verdicts = catalog.load(name)["verdict"]
            quarantined = int((verdicts == Verdict.QUARANTINED).sum())
            if quarantined:
                found.append(f"{quarantined} of {len(verdicts)} cases are quarantined")
    return list(dict.fromkeys(found))  # later stages repeat what an earlier one failed of
