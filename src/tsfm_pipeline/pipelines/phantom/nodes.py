"""Node of the phantom pipeline."""

import logging
from pathlib import Path

from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.workers import WorkerSettings

logger = logging.getLogger(__name__)


def provide_raw_data(
    phantom: PhantomSettings, workers: WorkerSettings, phantom_root: Path, raw_root: Path
) -> Path:
    """Make the synthetic datasets if they are what this environment reads; return the raw root.

    Only a raw root that IS the phantom root is ever written to: anybody's own data lie elsewhere
    and are left alone.
    """
    from tsfm_pipeline.phantom.generate import generate_phantoms

    if raw_root == phantom_root:
        generate_phantoms(phantom, phantom_root, workers)
    else:
        logger.info("Raw data: %s (nothing is generated there)", raw_root)
    return raw_root
