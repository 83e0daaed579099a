"""Let SIGTERM, which batch systems send, end a run as Ctrl-C does: cleaned up and told."""

import signal
import threading
from types import FrameType

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl


class TerminationHook:
    """SIGTERM raises SystemExit(143) in the main thread.

    A training notes the signal itself while it runs, and saves first. Kedro calls
    `on_pipeline_error` for neither this nor Ctrl-C: the tracked run is closed as killed when the
    process ends.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take SIGTERM over before any work starts."""
        _take_over()

    @hook_impl
    def before_node_run(self) -> None:
        """Take it over once more: the launcher of a training on many processes keeps it."""
        _take_over()


def _take_over() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
