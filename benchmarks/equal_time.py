"""Train systems, or one of them by other recipes, on Task04_Hippocampus for equal time.

Draws Dice over time and prints the tables.

    python benchmarks/equal_time.py --raw-root FOLDER_OF_Task04_Hippocampus --project FOLDER \
        --nnunet-python .venv-nnunet/bin/python COMMAND

COMMAND is one of

    calibrate [SYSTEM ...]   seconds per iteration, alone on the machine; nnU-Net v2 and the
                             mirrored one get the native one's, so that all train for equally
                             many iterations
    train [SYSTEM ...]       as many iterations as --minutes hold at that speed
    report [SYSTEM ...]      of what has finished: the picture --picture, and the tables

So systems may be trained side by side, or beside other work: their iterations are those of the
quiet machine, and so is the time in figure and table. Each has a copy of the project in FOLDER.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import yaml
from matplotlib.figure import Figure

from tsfm_pipeline.evaluation.statistics import bootstrap_interval
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.reporting.markdown import markdown_table

PROJECT = Path(__file__).parents[1]
EPOCHS = 20
SPEEDS = "seconds_per_iteration.json"
OURS = {"patch": [40, 56, 40], "batch_size": 2}
TSFM = {"network": "tsfm", "size": "small", **OURS}
SIX = TSFM | {"size": "small6"}
PLANNED = {
    "network": "nnunet",
    "size": "base",
    "patch": "planned",
    "batch_size": "planned",
    "loss": "softmax",
}
ADAMW = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "weight_decay": 1e-5,
    "warmup_epochs": 1,
}


@dataclass(frozen=True)
class System:
    """What is trained.

    Attributes:
        title: its name in figure and table.
        method: the experiment's.
        training: settings besides COMMON.
        speed: whose iterations it gets; its own by default.
    """

    title: str
    method: str
    training: dict[str, Any]
    speed: str = ""


SYSTEMS = {
    "tsfm": System("TSFM small", "tsfm", TSFM),
    "tsfm_small6": System("TSFM small6", "tsfm", SIX),
    "nnunet": System("nnU-Net, native", "nnunet", PLANNED),
    "nnunetv2": System("nnU-Net v2 itself", "nnunet", PLANNED, "nnunet"),
    "nnunet_mirrored": System(
        "nnU-Net, native, all axes mirrored",  # as nnU-Net v2 does
        "nnunet",
        PLANNED | {"augmentation": {"mirror_axes": [0, 1, 2]}},
        "nnunet",
    ),
    "swinunetr": System(
        "SwinUNETR, 12 channels",
        "swinunetr",
        {"network": "swinunetr", "size": "tiny", "loss": "softmax", **OURS, **ADAMW},
    ),
    "stunet": System(
        "STU-Net small",
        "stunet",
        {"network": "stunet", "size": "small", "loss": "softmax", **OURS},
    ),
    "small6_softmax": System("softmax loss", "tsfm", SIX | {"loss": "softmax"}, "tsfm_small6"),
    "small6_rate": System("rate 0.03", "tsfm", SIX | {"learning_rate": 0.03}, "tsfm_small6"),
    "small6_adamw": System("AdamW 0.001, cosine", "tsfm", SIX | ADAMW, "tsfm_small6"),
    "small6_mirrored": System(
        "all axes mirrored",
        "tsfm",
        SIX | {"augmentation": {"mirror_axes": [0, 1, 2]}},
        "tsfm_small6",
    ),
    "small6_plain": System(
        "without transformer",
        "tsfm_without_transformer",
        SIX | {"network": "tsfm_without_transformer"},
    ),
    "small6_patch": System("patch 32x48x32", "tsfm", SIX | {"patch": [32, 48, 32]}),
}
HALF = 0.5
TARGETS = ("hippocampus_anterior", "hippocampus_posterior")
COMMON = {
    "epochs": EPOCHS,
    "validation_iterations": 4,  # not counted in the time
    "learning_rate": 0.01,
    "momentum": 0.99,
    "weight_decay": 3e-5,
    "augmentation": {"transforms": "full", "mirror_axes": [2]},
    "workers": 0,
    "channels_last": True,
}


def make_project(folder: Path, system: str, iterations: int, epochs: int) -> None:
    """Copy the project, with one system as the only experiment of its grid."""
    for name in ("conf", "src"):
        shutil.copytree(PROJECT / name, folder / name, dirs_exist_ok=True)
    shutil.copyfile(PROJECT / "pyproject.toml", folder / "pyproject.toml")
    method = SYSTEMS[system].method
    experiment = {"name": f"own.{system}", "role": "baseline", "method": method}
    grid = {"experiments": [experiment | {"datasets": ["hippocampus"]}]}
    (folder / "conf/grid.yml").write_text(yaml.safe_dump(grid))
    path = folder / "conf/hippocampus/parameters_experiments.yml"
    settings = yaml.safe_load(path.read_text())
    own = {**SYSTEMS[system].training, "iterations_per_epoch": iterations}
    settings["experiments"] |= {
        "left_out": ["pretrain.*", "study.*"],
        "baseline": {"training": {**COMMON, "epochs": epochs, "iterations_per_epoch": iterations}},
        "methods": {method: {"training": own}},
    }
    settings["inference"] = {"mirror_axes": [0, 1, 2]}  # each those that its training mirrored
    path.write_text(yaml.safe_dump(settings, sort_keys=False))


def kedro(folder: Path, raw_root: Path, pipeline: str, *params: str) -> None:
    """Run a pipeline of a copy."""
    given = ",".join([f"raw_root={raw_root.absolute()}", *params])
    command = ["-m", "kedro", "run", "--env", "hippocampus", "--pipelines", pipeline]
    environment = os.environ | {"PYTHONPATH": str((folder / "src").absolute())}
    subprocess.run(
        [sys.executable, *command, "--params", given], cwd=folder, env=environment, check=True
    )


def train(
    arguments: argparse.Namespace, folder: Path, system: str, iterations: int, epochs: int
) -> None:
    """Train, predict and score one system in its folder."""
    pool = arguments.project / "pool"
    if not pool.exists():
        make_project(pool, "tsfm", iterations, epochs)
        kedro(pool, arguments.raw_root, "data_pool")
    if not folder.exists():
        shutil.copytree(pool, folder)
    make_project(folder, system, iterations, epochs)
    engine = "nnunetv2" if system == "nnunetv2" else "native"
    kedro(
        folder,
        arguments.raw_root,
        "own",
        f"experiments.nnunet.engine={engine}",
        f"experiments.nnunet.python={arguments.nnunet_python.absolute()}",
    )


def model_of(folder: Path, system: str) -> ModelFolder:
    """Return the folder of the training."""
    models = folder / "data/06_models/hippocampus"
    record = ModelRecord.model_validate_json((models / f"own_{system}.json").read_bytes())
    return ModelFolder(models / record.folder)


def calibrate(arguments: argparse.Namespace) -> None:
    """Time a few iterations of each system, and keep the seconds."""
    kept = arguments.project / SPEEDS
    for system in arguments.systems or [name for name, one in SYSTEMS.items() if not one.speed]:
        folder = arguments.project / f"calibration_{system}"
        train(arguments, folder, system, iterations=12, epochs=2)
        seconds = json.loads(kept.read_text()) if kept.exists() else {}
        seconds[system] = model_of(folder, system).epochs()[-1]["seconds_per_iteration"]
        print(f"{system}: {seconds[system]:.3f} s per iteration", flush=True)
        kept.write_text(json.dumps(seconds, indent=1))


def iterations_of(arguments: argparse.Namespace, system: str) -> int:
    """Return the iterations per epoch that the time holds."""
    seconds = json.loads((arguments.project / SPEEDS).read_text())
    speed = seconds[SYSTEMS[system].speed or system]
    return round(arguments.minutes * 60 / EPOCHS / speed)


def report(arguments: argparse.Namespace) -> None:
    """Draw the curves and print the scores of what has finished."""
    mpl.rcParams["svg.hashsalt"] = arguments.picture.stem  # the same file from the same figures
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    lines, by_case = [], {}
    for system in arguments.systems or SYSTEMS:
        one = SYSTEMS[system]
        folder = arguments.project / system
        scores = folder / "data/07_model_output/hippocampus/own_scores.parquet"
        if not scores.exists():
            continue
        epochs = model_of(folder, system).epochs()
        scored = pd.read_parquet(scores).query("weights == 'final'")
        mean = by_case[one.title] = scored.groupby("case")["dice"].mean()
        by_target = scored.groupby("target")["dice"].mean()
        figures = [*by_target.loc[list(TARGETS)], mean.mean(), mean.std()]
        iterations = len(epochs) * iterations_of(arguments, system)
        lines.append([one.title, f"{iterations:,}", *(f"{figure:.3f}" for figure in figures)])
        minutes = [(epoch + 1) * arguments.minutes / EPOCHS for epoch in range(len(epochs))]
        curve = [epoch["val/dice"] for epoch in epochs]
        axes.plot(minutes, curve, label=one.title)
        passed = next(
            (minute for minute, dice in zip(minutes, curve, strict=True) if dice > HALF), None
        )
        print(f"{one.title}: pseudo-Dice above {HALF} after {passed} minutes")
    axes.set(xlabel="minutes", ylabel="pseudo-Dice of validation patches")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(arguments.picture, metadata={"Date": None})
    header = ["", "iterations", "anterior", "posterior", "mean", "sd over cases"]
    print(markdown_table(header, lines, text_columns=1))
    for first, second in itertools.combinations(by_case, 2):
        values = (by_case[first] - by_case[second]).to_numpy()
        low, high = bootstrap_interval(values, by_case[first].index.to_numpy(), resamples=2000)
        print(f"{first} - {second}: {values.mean():+.3f} ({low:+.3f} to {high:+.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw-root", type=Path, required=True)
    parser.add_argument("--project", type=Path, required=True, help="where all is trained")
    parser.add_argument("--nnunet-python", type=Path, default=PROJECT / ".venv-nnunet/bin/python")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--picture", type=Path, default=PROJECT / "docs/equal_time.svg")
    parser.add_argument("command", choices=("calibrate", "train", "report"))
    parser.add_argument("systems", nargs="*", choices=[[], *SYSTEMS])
    arguments = parser.parse_args()
    if arguments.command == "calibrate":
        calibrate(arguments)
    elif arguments.command == "report":
        report(arguments)
    else:
        for system in arguments.systems or SYSTEMS:
            iterations = iterations_of(arguments, system)
            train(arguments, arguments.project / system, system, iterations, EPOCHS)


if __name__ == "__main__":
    main()
