"""Say how far every experiment of the grid has come: --env paper."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedro.io import DataCatalog

    from tsfm_pipeline.experiments.experiment import Experiment
    from tsfm_pipeline.experiments.progress import Environment, Left, Progress


def main(arguments: Sequence[str]) -> int:
    """Print a line per experiment and their counts; exit status 2 for wrong settings."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline status",
        description="How far every experiment has come, from its records and its model folder.",
    )
    parse.add_argument("--env", help="environment; default: local")
    parse.add_argument("--workspace", help="of its results, where --params workspace= named one")
    parse.add_argument(
        "--conf-source", default="conf", help="the project's configuration; default: conf"
    )
    given = parse.parse_args(arguments)

    from kedro.io import DatasetError  # heavy imports wait for right arguments

    try:
        rows = progress_in(*load_place(given.conf_source, given.env, given.workspace))
    except (ValueError, DatasetError) as error:
        sys.stderr.write(f"tsfm-pipeline status: {error}\n")
        return 2
    sys.stdout.write(table_of(rows) + "\n")
    return 0


def load_place(
    conf_source: str, environment: str | None, workspace: str | None
) -> tuple["Environment", "DataCatalog"]:
    """Return what experiments run on, and the catalogue of their records.

    Args:
        conf_source: folder of the configuration.
        environment: its name; None as `load_configuration`.
        workspace: where the results lie; None is the environment's own.

    Raises:
        ValueError: settings are wrong.
        DatasetError: the split can't be read.
    """
    from kedro.io import DataCatalog

    from tsfm_pipeline.experiments.progress import Environment
    from tsfm_pipeline.parameters import Parameters, load_configuration

    configuration = load_configuration(conf_source, environment, workspace)
    parameters = Parameters.from_mapping(configuration["parameters"])
    catalog = DataCatalog.from_config(configuration["catalog"])
    place = Environment(
        settings=parameters.experiments,
        datasets=(*parameters.pool.datasets, *parameters.pool.downstream),
        pool=_pool_version(catalog),
        models_root=catalog.load("models_root"),
        predictions_root=catalog.load("predictions_root"),
    )
    return place, catalog


def progress_in(place: "Environment", catalog: "DataCatalog") -> list["Progress"]:
    """Find out how far every experiment of the grid has come.

    Raises:
        DatasetError: a record can't be read.
    """
    import time

    from tsfm_pipeline.experiments.grid import GRID, PROMPTED
    from tsfm_pipeline.experiments.progress import progress_of_all, prompted_progress

    left = {experiment.name: _left_by(experiment, catalog) for experiment in GRID}
    prompted = catalog.load(f"{PROMPTED.replace('.', '_')}_statuses")
    rows = progress_of_all(GRID, left, place, time.time())
    return [*rows, prompted_progress(prompted, place)]


def table_of(rows: Sequence["Progress"]) -> str:
    """Return a line per experiment, and below them how many are in each state."""
    name, state = (max(len(getattr(row, part)) for row in rows) for part in ("experiment", "state"))
    lines = [
        f"{row.experiment:{name}}  {row.state:{state}}  {' '.join(row.detail.split())}".rstrip()
        for row in rows
    ]
    counts = Counter(row.state for row in rows)
    total = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return "\n".join([*lines, "", f"{len(rows)} experiments: {total}"])


def _left_by(experiment: "Experiment", catalog: "DataCatalog") -> "Left":
    """Read the records of an experiment, which its namespace names in the catalogue."""
    from tsfm_pipeline.catalog import RecordDataset
    from tsfm_pipeline.experiments.progress import Left

    inner = experiment.flat_name.removeprefix(f"{experiment.pipeline}_")
    model, scoring = (
        f"{experiment.pipeline}.{inner}_{output}" for output in ("model", "scoring_outcome")
    )
    record = catalog[model]
    assert isinstance(record, RecordDataset)
    saved_at = record.saved_at()
    return Left(
        model=None if saved_at is None else catalog.load(model),
        saved_at=saved_at or 0.0,
        scoring=catalog.load(scoring) if catalog[scoring].exists() else None,
    )


def _pool_version(catalog: "DataCatalog") -> str:
    """Return the version of the pool that is split now; empty where none is."""
    splits = catalog["splits"]
    return str(splits.load()["pool_version"].iat[0]) if splits.exists() else ""
