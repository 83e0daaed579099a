"""Make a trained model folder ready to be given away: -m MODEL -o WEIGHTS."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    """Release a trained model: `scans.release` with the project's datasets and licences."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline release",
        description="Make a model folder that works without pool and project.",
    )
    add = parse.add_argument
    add("-m", "--model", required=True, help="folder of a finished training, or of its experiment")
    add("-o", "--output", type=Path, required=True, help="the release")
    add("--weights", choices=("best", "final"), default="best", help="default: best")
    add("--fast", help="likewise, a coarser model of the same regions")
    add("--scores", type=Path, help="score table (.parquet or .csv) for the model card")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    add("--env", help="environment that trained the model; default: local")
    given = parse.parse_args(arguments)

    import pandas as pd  # heavy imports wait for right arguments

    from tsfm_pipeline.parameters import load_parameters
    from tsfm_pipeline.phantom.ownership import is_phantom
    from tsfm_pipeline.scans.registry import find_model, register
    from tsfm_pipeline.scans.release import Origin, release_model

    try:
        scores = None
        if given.scores is not None:
            read = pd.read_csv if given.scores.suffix == ".csv" else pd.read_parquet
            scores = read(given.scores)
        parameters = load_parameters(given.conf_source, given.env)
        raw_root = Path(parameters.raw_root)
        release_model(
            find_model(given.model).path,
            given.output,
            {
                name: Origin("made by this project", "none; synthetic phantoms, no patients")
                if is_phantom(raw_root / source.folder)
                else Origin(source.url, source.licence)
                for name, source in parameters.datasets.root.items()
            },
            weights=given.weights,
            fast=None if given.fast is None else find_model(given.fast).path,
            scores=scores,
        )
        name = register(given.output)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"tsfm-pipeline release: {error}\n")
        return 2
    sys.stderr.write(
        f"released to {given.output}; read and complete its README.md."
        f" `tsfm-predict -m {name}` takes it\n"
    )
    return 0
