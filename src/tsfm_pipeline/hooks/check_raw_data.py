"""Refuse raw data that are not there before any node runs, and before the run is tracked."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline


class CheckRawDataHook:
    """Look for the folder of every dataset that the run is going to index."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Raise SourceError where folders are missing; phantoms are made by the run itself."""
        from tsfm_pipeline.sources.case_index import require_folders

        if "case_index" not in pipeline.all_outputs():
            return
        raw_root = catalog.load("raw_root")
        if raw_root == catalog.load("phantom_root"):
            return
        pool = catalog.load("params:pool")
        names = [*pool.datasets, *pool.downstream]
        require_folders(catalog.load("params:datasets").root, names, raw_root)
