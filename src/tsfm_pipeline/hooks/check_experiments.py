"""Refuse what an experiment of the run can't start with, before any node runs."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from tsfm_pipeline.hooks.tell_run import NAMED, model_records

logger = logging.getLogger(__name__)


class CheckExperimentsHook:
    """Look at published weights and the other engine's environment; name what is not installed."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Raise where a training would fail; warn where experiments are not run for an extra."""
        from tsfm_pipeline.experiments.grid import EXPERIMENTS, PROMPTED

        namespaces = {node.namespace for node in pipeline.nodes if node.namespace}
        prompted = PROMPTED in namespaces
        named = [EXPERIMENTS[name] for name in sorted(namespaces & EXPERIMENTS.keys())]
        if not named and not prompted:
            return
        from tsfm_pipeline.experiments.start_check import check_starts, missing_extras
        from tsfm_pipeline.parameters import Parameters

        parameters = Parameters.from_mapping(catalog.load("parameters"))
        settings, pool = parameters.experiments, parameters.pool
        datasets = {*pool.datasets, *pool.downstream}
        experiments = [each for each in named if not each.why_no_data(datasets)]
        spacing = parameters.preparation.target_spacing
        finished = {
            name
            for name, record in model_records(pipeline, catalog).items()
            if record.status == "finished" and record.engine == "nnunetv2"
        }
        check_starts(
            settings, experiments, prompted, finished, None if spacing == "median" else spacing
        )
        for reason, names in missing_extras(settings, experiments, prompted).items():
            shown = ", ".join([*names[:NAMED], *(["..."] if len(names) > NAMED else [])])
            logger.warning("%s: %d not run (%s)", reason, len(names), shown)
