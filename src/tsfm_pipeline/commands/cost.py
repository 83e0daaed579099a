"""Say what the trainings of the grid will cost, cheapest first: --env paper."""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsfm_pipeline.experiments.cost import Cost, CostEstimator

MACHINES = (1, 8, 64)
"""Devices for which the days are told."""
COLUMNS = "{:<41} {:<14} {:>12} {:>5} {:>9} {:>7} {:>9} {:>9} {:<9} {:>9} {:>8}"
HEADING = COLUMNS.format(
    "experiment",
    "network",
    "patch",
    "batch",
    "million",
    "GiB",
    "steps",
    "s a step",
    "",
    "hours",
    "disk GB",
)


def main(arguments: Sequence[str]) -> int:
    """Print a line per training and their sum; exit status 2 for wrong settings."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline cost",
        description="Memory, time and disk of every training that an environment asks for. No data"
        " is read and nothing is allocated (docs/cost.md).",
    )
    add = parse.add_argument
    add("--env", help="environment; default: local")
    add("--order", choices=("cheapest", "grid"), default="cheapest", help="default: cheapest")
    add("--tflops", type=float, help="that a device reaches; default: 0.36 of an H100's 989 (bf16)")
    add("--csv", type=Path, metavar="FILE", help="write the table there, too")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    given = parse.parse_args(arguments)
    if given.tflops is not None and given.tflops <= 0:
        parse.error(f"--tflops {given.tflops} is not above 0")

    from kedro.io import DatasetError  # heavy imports wait for right arguments
    from tqdm import tqdm

    from tsfm_pipeline.experiments.grid import GRID

    try:
        estimator = load_estimator(given.conf_source, given.env, given.tflops)
    except (ValueError, DatasetError) as error:
        sys.stderr.write(f"tsfm-pipeline cost: {error}\n")
        return 2
    free = {entry.name: reason for entry in GRID if (reason := estimator.why_free(entry))}
    trained = [entry for entry in GRID if entry.name not in free]
    costs = [
        estimator.cost_of(entry)
        for entry in tqdm(trained, desc="Counting", unit="training", disable=None, leave=False)
    ]
    if given.order == "cheapest":
        costs.sort(key=lambda cost: cost.hours)
    if given.csv is not None:
        _write_csv(given.csv, costs)
    sys.stdout.write(table_of(costs, free, estimator.tflops) + "\n")
    return 0


def table_of(costs: Sequence["Cost"], free: Mapping[str, str], tflops: float) -> str:
    """Return a line per training, their sum, what the figures are, and what is not among them.

    Args:
        costs: of the trainings.
        free: experiment -> why it trains nothing.
        tflops: that a device reaches.
    """
    lines = [HEADING, *map(_line, costs)]
    hours, disk = sum(cost.hours for cost in costs), sum(cost.disk_gb for cost in costs)
    measured = sum(cost.measured for cost in costs)
    total = (
        f"{len(costs)} trainings: {hours:,.1f} device-hours ({hours / 24:,.1f} days on one),"
        f" {disk:,.1f} GB of models; seconds measured for {measured}, estimated for"
        f" {len(costs) - measured} at {tflops:.3g} TFLOP/s."
    )
    if costs:
        total += "\n" + _side_by_side(costs)
    if any(cost.assumed for cost in costs):
        total += "\n* patch or batch will be planned for the dataset; the settings' default here."
    reasons = Counter(free.values())
    return "\n".join(
        [*lines, "", total, *(f"{count} not trained: {why}" for why, count in reasons.items())]
    )


def _side_by_side(costs: Sequence["Cost"]) -> str:
    from tsfm_pipeline.experiments.cost import hours_at_once

    days = [f"{hours_at_once(costs, number) / 24:,.1f} on {number}" for number in MACHINES]
    return f"Side by side (run-many), in days: {', '.join(days)} devices."


def _line(cost: "Cost") -> str:
    return COLUMNS.format(
        cost.experiment,
        f"{cost.network} {cost.size}",
        _sides(cost) + "*" * cost.assumed,
        cost.batch_size,
        f"{cost.parameters / 1e6:,.1f}",
        f"{cost.memory_gib:.1f}",
        f"{cost.iterations:,}",
        f"{cost.seconds:.3g}",
        "measured" if cost.measured else "estimated",
        f"{cost.hours:,.2f}",
        f"{cost.disk_gb:.2f}",
    )


def _sides(cost: "Cost") -> str:
    return "x".join(map(str, cost.patch))


def _write_csv(path: Path, costs: Sequence["Cost"]) -> None:
    import pandas as pd

    from tsfm_pipeline.files import write_text
    from tsfm_pipeline.files.spreadsheet import csv_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, csv_text(pd.DataFrame([{**vars(c), "patch": _sides(c)} for c in costs])))


def load_estimator(
    conf_source: str, environment: str | None, tflops: float | None = None
) -> "CostEstimator":
    """Collect what is known before any run, and what earlier runs have left.

    Args:
        conf_source: folder of the configuration.
        environment: its name; None as `load_configuration`.
        tflops: that a device reaches; None takes a share of an H100's.

    Raises:
        ValueError: settings are wrong.
        DatasetError: what earlier runs have left can't be read.
    """
    from kedro.io import DataCatalog

    from tsfm_pipeline.experiments.cost import CostEstimator, measured_seconds, model_folders
    from tsfm_pipeline.parameters import Parameters, load_configuration

    configuration = load_configuration(conf_source, environment)
    parameters = Parameters.from_mapping(configuration["parameters"])
    catalog = DataCatalog.from_config(configuration["catalog"])
    spacing: Any = parameters.preparation.target_spacing
    if catalog["target_spacing"].exists():
        spacing = catalog.load("target_spacing").spacing
    plans = catalog.load("dataset_plans") if catalog["dataset_plans"].exists() else {}
    sources = parameters.datasets.root
    return CostEstimator(
        settings=parameters.experiments,
        sources={
            name: sources[name] for name in (*parameters.pool.datasets, *parameters.pool.downstream)
        },
        pool=parameters.pool.datasets,
        table=parameters.labels,
        spacing=None if spacing == "median" else spacing,
        plans={name: load() for name, load in plans.items()},
        measured=measured_seconds(model_folders(catalog.load("models_root"))),
        **({} if tflops is None else {"tflops": tflops}),
    )
