"""Track every `kedro run` in MLflow."""

import logging
import time
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset
from kedro.pipeline import Pipeline

from tsfm_pipeline.hooks.exit_status import failures
from tsfm_pipeline.hooks.latest_results import written_files

logger = logging.getLogger(__name__)

REPORTING_LAYER = "reporting"
"""Layer of the catalogue whose files are attached to the run: report, tables, figures, pages."""


class TrackRunHook:
    """One MLflow run per `kedro run`, ended as what it was: finished, failed or killed."""

    def __init__(self) -> None:
        self._began = False  # whether any node has
        self._catalog: Any = {}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Any, catalog: Any) -> None:
        """Open the run; log what the command line set, and all parameters as a file."""
        from tsfm_pipeline.parameters import Parameters
        from tsfm_pipeline.tracking import runs
        from tsfm_pipeline.tracking.problem import TrackingError

        self._began, self._catalog = False, catalog
        parameters = Parameters.from_mapping(catalog.load("parameters"))
        names = run_params.get("pipeline_names") or ["all"]
        given = run_params.get("runtime_params") or {}
        try:
            runs.start_run(
                parameters.tracking,
                Path(run_params["project_path"]),
                name=f"{'+'.join(names)} {time.strftime('%d %b %H:%M')}",
                tags={
                    runs.KEDRO_RUN_TAG: run_params["run_id"],
                    runs.ENVIRONMENT_TAG: run_params.get("env") or "base",
                    "workspace": parameters.reporting.workspace,
                    "pipelines": "+".join(names),
                    runs.PARAMS_TAG: runs.params_text(given),
                },
            )
        except TrackingError as error:
            # The command line shows its message alone, without a traceback.
            raise click.ClickException(str(error)) from error
        runs.log_parameters(given)
        runs.log_document(parameters.model_dump(mode="json"), "parameters.json")

    @hook_impl
    def before_node_run(self) -> None:
        """Note that the run was not refused."""
        self._began = True

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Attach what was written for readers."""
        from tsfm_pipeline.tracking import runs
        from tsfm_pipeline.tracking.problem import never_fatal

        dataset = self._catalog.get(dataset_name)
        shown = (getattr(dataset, "metadata", None) or {}).get("kedro-viz", {})
        if shown.get("layer") == REPORTING_LAYER and isinstance(dataset, AbstractVersionedDataset):
            with never_fatal(dataset_name):
                for file in written_files(dataset) or [Path(dataset._get_load_path())]:
                    runs.log_file(file)

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Close the run as finished; as failed where its exit status is going to be 1."""
        from tsfm_pipeline.tracking import runs
        from tsfm_pipeline.tracking.pages import newest_page
        from tsfm_pipeline.tracking.problem import never_fatal

        found = failures(run_params, pipeline, catalog)
        if found:
            runs.tag_run({runs.FAILURE_TAG: found[0]})
        runs.end_run("FAILED" if found else "FINISHED")
        with never_fatal("the address of the charts"):
            if page := newest_page(run_params["run_id"]):
                logger.info("Trainings side by side: %s (`make mlflow` serves it)", page)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run as failed, with the reason; leave none where no node has begun."""
        from tsfm_pipeline.tracking import runs
        from tsfm_pipeline.tracking.problem import in_a_line

        if not self._began:
            runs.discard_run()
            return
        runs.tag_run({runs.FAILURE_TAG: in_a_line(error)})
        runs.end_run("FAILED")
