"""Run the packaged project: `tsfm-pipeline --pipelines pretrain --conf-source conf`.

`tsfm-pipeline release -m MODEL -o WEIGHTS` makes a trained model ready to be given away.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Behave as `kedro run` of this project, or make a release."""
    if sys.argv[1:2] == ["release"]:
        return release(sys.argv[2:])
    package = Path(__file__).parent.name
    configure_project(package)
    run = find_run_command(package)
    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return run(*args, **kwargs)


def release(arguments: Sequence[str]) -> int:
    """Release a trained model: `scans.release` with the project's datasets and licences."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline release",
        description="Make a model folder that works without pool and project.",
    )
    add = parse.add_argument
    add("-m", "--model", type=Path, required=True, help="folder of a finished training")
    add("-o", "--output", type=Path, required=True, help="the release")
    add("--weights", choices=("best", "final"), default="best", help="default: best")
    add("--fast", type=Path, help="folder of a coarser model of the same regions")
    add("--scores", type=Path, help="score table (.parquet or .csv) for the model card")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    add("--env", default="base", help="environment that trained the model; default: base")
    given = parse.parse_args(arguments)

    import pandas as pd  # noqa: PLC0415 - heavy imports wait for right arguments
    from kedro.framework.project import settings  # noqa: PLC0415

    from tsfm_pipeline.parameters import Parameters  # noqa: PLC0415
    from tsfm_pipeline.phantom.ownership import MARKER  # noqa: PLC0415
    from tsfm_pipeline.scans.release import Origin, release_model  # noqa: PLC0415

    try:
        scores = None
        if given.scores is not None:
            read = pd.read_csv if given.scores.suffix == ".csv" else pd.read_parquet
            scores = read(given.scores)
        configure_project(Path(__file__).parent.name)
        loader = settings.CONFIG_LOADER_CLASS(
            given.conf_source, env=given.env, **settings.CONFIG_LOADER_ARGS
        )
        parameters = Parameters.from_mapping(loader["parameters"])
        synthetic = (Path(parameters.raw_root) / MARKER).exists()
        release_model(
            given.model,
            given.output,
            {
                name: Origin("made by this project", "none; synthetic phantoms, no patients")
                if synthetic
                else Origin(source.url, source.licence)
                for name, source in parameters.datasets.root.items()
            },
            weights=given.weights,
            fast=given.fast,
            scores=scores,
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"tsfm-pipeline release: {error}\n")
        return 2
    sys.stderr.write(f"released to {given.output}; read and complete its README.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
