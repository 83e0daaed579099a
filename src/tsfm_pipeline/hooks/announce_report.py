"""Say at the end of a run where its report is."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

logger = logging.getLogger(__name__)

PAGE = "report_page"


class AnnounceReportHook:
    """The first thing a run ends with is the path of its report."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Name the file that this run has written; runs without a report say nothing."""
        if PAGE in pipeline.all_outputs():
            # A versioned dataset has no public way to say which file it is.
            logger.info("Report: %s", catalog.get(PAGE)._get_load_path())
