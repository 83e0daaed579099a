"""Print what other readings of BraTS2020's and Abdomen-1K's scores give, for docs/decisions.md.

kedro run
LEFT='study.few*,study.c*,study.u*,study.w*,study.z*,study.size*'
kedro run --pipelines study --params "experiments.left_out=[$LEFT]"
python benchmarks/readings.py

And with one channel of BraTS2020, in a workspace of its own:

ONE='datasets.brats2020.channels=[flair],workspace=flair'
kedro run --params "$ONE"
kedro run --pipelines study --params "$ONE,experiments.left_out=[$LEFT]"
python benchmarks/readings.py --one-channel flair

Table 2's smallest budget over the seeds, final weights: the mean over seeds of each held-out case,
and the difference with a 95 % interval over patients.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.statistics import bootstrap_interval
from tsfm_pipeline.experiments.grid import SEEDS
from tsfm_pipeline.reporting.markdown import markdown_table

PROJECT = Path(__file__).parents[1]
LABELS = ("brain_tumor_necrosis", "brain_edema", "brain_tumor_enhancing")
REGIONS = ("brain_tumor_whole", "brain_tumor_core", "brain_tumor_enhancing")
FOUR = ("liver", "kidney", "spleen", "pancreas")
Targets = tuple[str, ...] | None
"""Which targets count; None is all of the dataset."""
READINGS: dict[str, tuple[str, Targets, Targets]] = {
    "BraTS2020: regions - labels": ("brats2020", REGIONS, LABELS),
    "Abdomen: four organs - all": ("abdomenct1k", FOUR, None),
    "KiTS19: kidney with tumour - label alone": ("kits19", ("kidney",), ("kidney (label alone)",)),
}


def scores_of(project: Path, workspace: str) -> pd.DataFrame:
    """Read the scores of final weights."""
    folder = project / "data/07_model_output" / workspace
    files = [folder / f"{pipeline}_scores.parquet" for pipeline in ("transfer", "study")]
    return pd.concat(map(pd.read_parquet, files)).query("weights == 'final'")


def by_seed(scores: pd.DataFrame, dataset: str, start: str, targets: Targets) -> pd.DataFrame:
    """Return the mean Dice over targets: a row per patient, a column per seed."""
    columns = {}
    for seed in (0, *SEEDS):
        experiment = f"study.seed{seed}.{dataset}.{start}"
        if seed == 0:
            experiment = f"transfer.{dataset}.{start}.epoch10"
        rows = scores[scores["experiment"] == experiment]
        wanted = ~rows["extra"].eq(True) if targets is None else rows["target"].isin(targets)
        columns[seed] = rows[wanted].groupby("patient")["dice"].mean()
    return pd.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=PROJECT, help="where it was run")
    parser.add_argument("--workspace", default="phantom")
    parser.add_argument("--one-channel", help="workspace in which BraTS2020 has one channel")
    arguments = parser.parse_args()
    scores = scores_of(arguments.project, arguments.workspace)
    lines = []

    def compare(name: str, start: str, one: pd.DataFrame, other: pd.DataFrame) -> None:
        both = one.notna() & other.notna()  # a patient without the target has neither
        one, other = one[both], other[both]
        of_seeds = (one - other).mean()
        of_patients = (one - other).mean(axis=1).dropna()
        low, high = bootstrap_interval(
            of_patients.to_numpy(), of_patients.index.to_numpy(), resamples=2000
        )
        means = [np.nanmean(one), np.nanmean(other), of_patients.mean()]
        spread = f"{of_seeds.min():+.3f} to {of_seeds.max():+.3f}"
        figures = [f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[2]:+.3f}"]
        lines.append([name, start, *figures, f"{low:+.3f} to {high:+.3f}", spread])

    for name, (dataset, first, second) in READINGS.items():
        for start in ("scratch", "pretrained"):
            pair = [by_seed(scores, dataset, start, targets) for targets in (first, second)]
            compare(name, start, *pair)
    if arguments.one_channel:
        single = scores_of(arguments.project, arguments.one_channel)
        for start in ("scratch", "pretrained"):
            pair = [by_seed(one, "brats2020", start, None) for one in (scores, single)]
            compare("BraTS2020: four channels - FLAIR", start, *pair)
    header = ["first - second", "start", "first", "second", "difference", "patients", "seeds"]
    print(markdown_table(header, lines, text_columns=2))


if __name__ == "__main__":
    main()
