"""Tell a fault of the machine in one line, without a traceback."""

import click
from kedro.framework.hooks import hook_impl


class MachineFaultHook:
    """A full disk or a lack of memory ends `kedro run` with place, cause and remedy."""

    @hook_impl(trylast=True)  # the tracked run is closed first
    def on_pipeline_error(self, error: Exception) -> None:
        """Put the line in the place of the traceback."""
        from tsfm_pipeline.machine import fault_of_machine

        if fault := fault_of_machine(error):
            raise click.ClickException(fault) from error
