"""Refuse wrong parameters before any node runs."""

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl


class CheckParametersHook:
    """Build the root settings model from all parameters: unknown keys are errors at every level.

    Kedro itself checks only the typed inputs of the nodes that run, so a misspelt top-level key
    would pass unseen.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the environment, and the parameters as Kedro loads them (with --params)."""
        from tsfm_pipeline.parameters import Parameters, ParametersError, require_environment

        try:
            require_environment(str(context.config_loader.conf_source), context.env)
            Parameters.from_mapping(context.config_loader["parameters"])
        except ParametersError as error:
            # The command line shows its message alone, without a traceback.
            raise click.ClickException(str(error)) from error
