"""A `latest` folder beside the time-stamped results, and the way to the report."""

import logging
import os
import uuid
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractVersionedDataset
from kedro.pipeline import Pipeline

logger = logging.getLogger(__name__)

FOLDER = "latest"
REPORT = "report.html"


class LatestResultsHook:
    """Link each versioned file of the run: `latest/report.md` to `report.md/TIME/report.md`."""

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Make the links; print where the report is."""
        for name in sorted(pipeline.all_outputs()):
            for written in written_files(catalog.get(name)):
                link = link_latest(written)
                if link.name == REPORT:
                    logger.info("Report: %s", os.path.relpath(link, run_params["project_path"]))


def written_files(dataset: Any) -> list[Path]:
    """List what a versioned dataset has saved in this run; nothing of any other."""
    if not isinstance(dataset, AbstractVersionedDataset):
        return []
    version = dataset.resolve_save_version()
    if version is None:
        return []
    folder = Path(dataset._filepath) / version
    return sorted(folder.iterdir()) if folder.exists() else []


def link_latest(written: Path) -> Path:
    """Let `latest/FILE`, beside the folder NAME, lead to NAME/TIME/FILE; return the link.

    The link is relative, so that a copied or moved folder keeps it. It lies outside NAME, where
    Kedro would take it for the version to load.
    """
    link = written.parents[2] / FOLDER / written.name
    link.parent.mkdir(exist_ok=True)
    # not as files are written: another run that ends now could not tell it from an abandoned one
    temporary = link.with_name(f".{uuid.uuid4().hex}.{link.name}")
    temporary.symlink_to(os.path.relpath(written, link.parent))
    try:
        temporary.replace(link)
    finally:
        temporary.unlink(missing_ok=True)
    return link
