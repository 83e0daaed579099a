"""Tell what ends a run in one line where the line says it all, without a traceback."""

import click
from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError


class MachineFaultHook:
    """A full disk, a lack of memory or a refusal ends `kedro run` with place, cause and remedy.

    What the project refuses is raised as a class of its own, and by its catalogue entries as a
    DatasetError. Anything else is a bug, and keeps its traceback.
    """

    @hook_impl(trylast=True)  # the tracked run is closed first
    def on_pipeline_error(self, error: Exception) -> None:
        """Put the line in the place of the traceback."""
        from tsfm_pipeline.machine import fault_of_machine

        refused = isinstance(error, DatasetError) or type(error).__module__.startswith(
            "tsfm_pipeline."
        )
        if line := fault_of_machine(error) or (str(error) if refused else None):
            raise click.ClickException(line) from error
