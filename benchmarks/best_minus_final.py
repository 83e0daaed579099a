"""How far the best weights' Dice lies above the final weights', by what chose the best.

kedro run --params splits.inner_folds=null,workspace=as_nnunet
kedro run --params workspace=nested
python benchmarks/best_minus_final.py data/08_reporting/{as_nnunet,nested}/latest/scores.csv

Where the scored cases chose the best weights, the difference holds what choosing made up; where
others chose, it is what choosing is worth.
"""

import argparse
from pathlib import Path

import pandas as pd

from tsfm_pipeline.evaluation.statistics import bootstrap_interval

PLACE = ["experiment", "protocol", "dataset", "case", "patient", "target"]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("scores", type=Path, nargs="+", help="scores.csv of a run each")
    for path in parse.parse_args().scores:
        scores = pd.read_csv(path, dtype={"case": str, "patient": str})
        dice = scores.pivot(index=PLACE, columns="weights", values="dice")
        differences = (dice["best"] - dice["final"]).dropna().reset_index(name="difference")
        patients = (differences["dataset"] + "/" + differences["patient"]).to_numpy()
        values = differences["difference"].to_numpy(float)
        low, high = bootstrap_interval(values, patients, resamples=2000)
        print(
            f"{path}: best - final {values.mean():+.4f} Dice ({low:+.4f} to {high:+.4f}),"
            f" {differences['experiment'].nunique()} trainings, {len(set(patients))} patients"
        )


if __name__ == "__main__":
    main()
