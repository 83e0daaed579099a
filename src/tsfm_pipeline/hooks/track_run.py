"""Track every `kedro run` in MLflow."""

from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from tsfm_pipeline.hooks.exit_status import failures

LONG_SECTIONS = ("datasets", "labels", "paper_tables")
"""Parameter sections that go into the attached document only: hundreds of rows in a table."""


class TrackRunHook:
    """One MLflow run per `kedro run`, ended as what it was: finished, failed or killed."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Open the run and log the parameters."""
        from tsfm_pipeline.parameters import Parameters
        from tsfm_pipeline.tracking import runs
        from tsfm_pipeline.tracking.problem import TrackingError

        raw = catalog.load("parameters")
        parameters = Parameters.from_mapping(raw)
        names = run_params.get("pipeline_names") or ["__default__"]
        try:
            runs.start_run(
                parameters.tracking,
                Path(run_params["project_path"]),
                name=f"{'+'.join(names)} {run_params['run_id']}",
                tags={
                    "kedro.run_id": run_params["run_id"],
                    "kedro.env": run_params.get("env") or "base",
                    "kedro.pipelines": ",".join(names),
                },
            )
        except TrackingError as error:
            # The command line shows its message alone, without a traceback.
            raise click.ClickException(str(error)) from error
        document = parameters.model_dump(mode="json")
        runs.log_document(document, "parameters.json")
        runs.log_parameters({k: v for k, v in document.items() if k not in LONG_SECTIONS})

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Close the run as finished; as failed where its exit status is going to be 1."""
        from tsfm_pipeline.tracking import runs

        runs.end_run("FAILED" if failures(run_params, pipeline, catalog) else "FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run as failed."""
        from tsfm_pipeline.tracking import runs

        runs.end_run("FAILED")
