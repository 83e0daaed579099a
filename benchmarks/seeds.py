"""Print Table 2's smallest budget over the seeds, for docs/baselines.md.

kedro run
LEFT='study.few*,study.u*,study.w*,study.z*,study.size*'
kedro run --pipelines study --params "experiments.left_out=[$LEFT]"
python benchmarks/seeds.py
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from tsfm_pipeline.experiments.grid import CT_DOWNSTREAM, DOWNSTREAM, SEEDS
from tsfm_pipeline.reporting.markdown import markdown_table

PROJECT = Path(__file__).parents[1]
BUDGET = "epoch10"
OWN = "pretrained, CT statistics of its own"


def experiments_of(dataset: str) -> dict[str, list[str]]:
    """Return what was repeated with each seed: how it starts -> its experiments."""
    starts = {
        start: [
            f"transfer.{dataset}.{start}.{BUDGET}",
            *(f"study.seed{seed}.{dataset}.{start}" for seed in SEEDS),
        ]
        for start in ("scratch", "pretrained")
    }
    if dataset in CT_DOWNSTREAM:
        starts[OWN] = [
            f"study.ct_statistics.{dataset}",
            *(f"study.ct_statistics_seed{seed}.{dataset}" for seed in SEEDS),
        ]
    return starts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=PROJECT, help="where it was run")
    parser.add_argument("--workspace", default="phantom")
    arguments = parser.parse_args()
    folder = arguments.project / "data/07_model_output" / arguments.workspace
    scores = pd.concat(
        pd.read_parquet(folder / f"{pipeline}_scores.parquet") for pipeline in ("transfer", "study")
    )
    scores = scores[(scores["weights"] == "final") & ~scores["extra"].eq(True)]
    by_case = scores.groupby(["experiment", "case"])["dice"].mean()
    lines = []
    over_seeds: dict[tuple[str, str], pd.Series] = {}
    for dataset in DOWNSTREAM:
        for start, experiments in experiments_of(dataset).items():
            means = [by_case[experiment].mean() for experiment in experiments]
            cases = len(by_case[experiments[0]])
            of_each = pd.concat([by_case[experiment] for experiment in experiments], axis=1)
            over_seeds[dataset, start] = of_each.mean(axis=1)
            figures = [*means, np.mean(means), np.std(means, ddof=1)]
            lines.append([dataset, start, *(f"{one:.3f}" for one in figures), str(cases)])
    header = ["dataset", "start", *(f"seed {seed}" for seed in (0, *SEEDS)), "mean", "sd", "cases"]
    print(markdown_table(header, lines, text_columns=2))
    for dataset in CT_DOWNSTREAM:
        gain = over_seeds[dataset, "pretrained"] - over_seeds[dataset, OWN]
        print(f"{dataset}, the pool's CT statistics - its own, by case: {gain.round(3).tolist()}")


if __name__ == "__main__":
    main()
