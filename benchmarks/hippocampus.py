"""Draw the curve and print the scores of `kedro run --env hippocampus` for docs/own_dataset.md.

kedro run --env hippocampus --params raw_root=FOLDER_THAT_HOLDS_Task04_Hippocampus
python benchmarks/hippocampus.py
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.model.folder import WEIGHTS

PROJECT = Path(__file__).parents[1]


def draw(metrics: pd.DataFrame, iterations_per_epoch: int) -> Figure:
    """Draw training loss and pseudo-Dice over iterations."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    loss, dice = figure.subplots(1, 2)
    iterations = (metrics["epoch"] + 1) * iterations_per_epoch
    loss.plot(iterations, metrics["train/loss"])
    loss.set(xlabel="iterations", ylabel="training loss")
    for name, column in metrics.filter(like="val/dice/").items():
        label = str(name).removeprefix("val/dice/hippocampus_")
        dice.plot(iterations, column, alpha=0.5, linewidth=1, label=label)
    dice.plot(
        iterations, metrics["val/dice_ema"], color="black", label="moving average of the mean"
    )
    dice.set(xlabel="iterations", ylabel="pseudo-Dice of validation patches", ylim=(0.7, 0.95))
    dice.legend(loc="lower right")
    for axes in (loss, dice):
        axes.grid(alpha=0.3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, default=PROJECT, help="where it was run")
    data = parser.parse_args().project / "data"
    record = ModelRecord.model_validate_json(
        (data / "06_models/hippocampus/pretrain_tsfm.json").read_bytes()
    )
    folder = record.model_folder(data / "06_models/hippocampus")
    card, summary = folder.card, folder.summary
    assert summary is not None, "the training has not finished"
    lines = folder.metrics.read_text().splitlines()
    metrics = pd.DataFrame([json.loads(line) for line in lines])

    mpl.rcParams["svg.hashsalt"] = "hippocampus"  # the same file from the same figures
    mpl.rcParams["svg.fonttype"] = "none"
    figure = draw(metrics, card.settings.iterations_per_epoch)
    figure.savefig(PROJECT / "docs/hippocampus.svg", metadata={"Date": None})

    iterations = len(metrics) * card.settings.iterations_per_epoch
    print(
        f"{iterations:,} iterations in {summary.seconds / 60:.0f} minutes,"
        f" {metrics['seconds_per_iteration'].median():.2f} s each; {len(card.scored)} held-out"
        " cases.\n"
    )
    scores = pd.read_parquet(data / "07_model_output/hippocampus/pretrain_scores.parquet")
    scores = scores[scores["experiment"] == "pretrain.tsfm"]
    dice = scores.pivot_table("dice", "weights", "target").loc[list(WEIGHTS)]
    dice["mean"] = dice.mean(axis=1)
    print("| weights | " + " | ".join(dice.columns) + " |")
    print("|---" * (1 + len(dice.columns)) + "|")
    for weights, row in dice.iterrows():
        print(f"| {weights} | " + " | ".join(f"{value:.4f}" for value in row) + " |")


if __name__ == "__main__":
    main()
