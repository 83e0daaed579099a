"""Refuse raw data that are not there before any node runs, and before the run is tracked."""

from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline


class CheckRawDataHook:
    """Look for the folder of every dataset that the run is going to index."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Raise SourceError where folders are missing that the run does not make itself."""
        from tsfm_pipeline.pipelines.phantom.datasets import never_generated
        from tsfm_pipeline.sources.case_index import require_folders, require_root

        if "case_index" not in pipeline.all_outputs():
            return
        raw_root = catalog.load("raw_root")
        pool, datasets = catalog.load("params:pool"), catalog.load("params:datasets")
        names = [*pool.datasets, *pool.downstream]
        if raw_root == catalog.load("phantom_root"):
            names = never_generated(names, datasets, catalog.load("params:phantom"))
        else:
            require_root(raw_root)
        require_folders(datasets.root, names, raw_root)
