"""Write a page of one case to look at in the browser: DATASET/CASE --experiment NAME."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kedro.io import DataCatalog

    from tsfm_pipeline.parameters import Parameters


def main(arguments: Sequence[str]) -> int:
    """Write the page and print its path; exit status 2 where there is no such case."""
    parse = argparse.ArgumentParser(
        prog="tsfm-pipeline view",
        description="Write a page of a case to look at: three planes and 3-D, targets by name."
        " Without --experiment the prepared case is shown, image and labels.",
    )
    add = parse.add_argument
    add("case", metavar="DATASET/CASE", help="as in pool_catalogue.csv and scores.csv")
    add("--experiment", help="show what it predicted over the reference, with the Dice of each")
    add("--weights", choices=("best", "final"), default="best", help="default: best")
    add("--env", help="environment; default: local")
    add("--workspace", help="of its results, where --params workspace= named one")
    add("--conf-source", default="conf", help="the project's configuration; default: conf")
    given = parse.parse_args(arguments)

    from kedro.io import DataCatalog, DatasetError

    from tsfm_pipeline.parameters import Parameters, load_configuration
    from tsfm_pipeline.reporting.case_page import page_name

    try:
        configuration = load_configuration(given.conf_source, given.env, given.workspace)
        parameters = Parameters.from_mapping(configuration["parameters"])
        catalog = DataCatalog.from_config(configuration["catalog"])
        folder = catalog.load("views_root")
        folder.mkdir(parents=True, exist_ok=True)
        if given.experiment is None:
            path = folder / page_name(given.case)
            _show_prepared(path, given.case, catalog, parameters)
        else:
            path = folder / page_name(given.case, given.experiment, given.weights)
            _show_compared(path, given.case, given.experiment, given.weights, catalog, parameters)
    except (ValueError, OSError, DatasetError) as error:
        sys.stderr.write(f"tsfm-pipeline view: {error}\n")
        return 2
    sys.stdout.write(f"{path}\n")
    return 0


def _show_prepared(path: Path, key: str, catalog: "DataCatalog", parameters: "Parameters") -> None:
    from tsfm_pipeline.parameters import ParametersError, did_you_mean
    from tsfm_pipeline.reporting.case_page import write_prepared_page

    store = catalog.load("pool_store")
    if key not in (known := store.keys()):
        raise ParametersError(
            f"{key} is no prepared case of {store.root}{did_you_mean(key, known)}"
        )
    write_prepared_page(path, store, key, parameters.labels)


def _show_compared(
    path: Path,
    key: str,
    experiment: str,
    weights: str,
    catalog: "DataCatalog",
    parameters: "Parameters",
) -> None:
    from tsfm_pipeline.experiments.grid import EXPERIMENTS
    from tsfm_pipeline.parameters import ParametersError, did_you_mean
    from tsfm_pipeline.pipelines.reporting.records import predictions_of
    from tsfm_pipeline.reporting.case_page import write_compared_page
    from tsfm_pipeline.sources.case_index import case_from_row

    if experiment not in EXPERIMENTS:
        near = did_you_mean(experiment, EXPERIMENTS)
        raise ParametersError(f"there is no experiment {experiment}{near}")
    root = catalog.load("predictions_root")
    predictions = predictions_of(root, experiment)
    predictions = predictions[predictions["weights"] == weights].set_index("key")
    if key not in predictions.index:
        raise ParametersError(
            f"{experiment} has no prediction of {key} with {weights} weights in"
            f" {root}{did_you_mean(key, predictions.index)}"
        )
    prediction = predictions.loc[key]
    index = catalog.load("case_index")
    (row,) = index[(index["dataset"] + "/" + index["case"]) == key].to_dict("records")
    case = case_from_row(row)
    write_compared_page(
        path,
        case,
        parameters.datasets.root[case.dataset],
        parameters.labels,
        root / prediction["file"],
        prediction["regions"].split(","),
        f"{experiment}, {weights} weights",
    )
