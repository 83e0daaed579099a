"""Let Kedro-Viz draw the trainings of the environment that it shows."""

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl


class ShowSettingsHook:
    """Keep the session's configuration for the drawings, which are asked for without arguments."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep it; it is read when a drawing is asked for."""
        from tsfm_pipeline.pipelines.experiment.preview import SHOWN

        SHOWN.show(context.config_loader)
