"""Let a run that only screens end with an exit status that says what it found."""

import logging
from typing import Any

from kedro.framework.hooks import hook_impl

logger = logging.getLogger(__name__)

SCREEN = "screen"


class ScreeningStatusHook:
    """Exit status 1 of `kedro run --tags screen` where a case is quarantined.

    A run that goes on to prepare ends with 0: a pool without its bad cases is a sound pool, and
    what a scheduler chains to it should start.
    """

    @hook_impl(trylast=True)  # the tracked run is closed first
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Look at the integrity table that the run has written."""
        from tsfm_pipeline.preparation.screening import QUARANTINED

        if list(run_params.get("tags") or ()) != [SCREEN] or "integrity" not in catalog:
            return
        verdicts = catalog.load("integrity")["verdict"]
        quarantined = int((verdicts == QUARANTINED).sum())
        if quarantined:
            logger.error(
                "%d of %d cases are quarantined: exit status 1", quarantined, len(verdicts)
            )
            raise SystemExit(1)
