"""Run a pipeline, as `kedro run` does: --pipelines pretrain --conf-source conf."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str]) -> Any:
    """Run a pipeline of the packaged project; outside an interactive session it exits."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package = Path(__file__).parents[1].name
    configure_project(package)
    run: Any = find_run_command(package)
    return run(
        list(arguments), prog_name="tsfm-pipeline run", standalone_mode=not hasattr(sys, "ps1")
    )
