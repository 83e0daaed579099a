"""Run the packaged project: `tsfm-pipeline --pipelines pretrain --conf-source conf`."""

import sys
from pathlib import Path
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Behave as `kedro run` of this project."""
    package = Path(__file__).parent.name
    configure_project(package)
    run = find_run_command(package)
    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return run(*args, **kwargs)


if __name__ == "__main__":
    main()
