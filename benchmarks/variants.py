"""Train variants of the pre-training on the phantom pool; print what each is worth.

    python benchmarks/variants.py --project FOLDER train [NAME ...]
    python benchmarks/variants.py --project FOLDER report

All take two hours on one thread; the report is of the pairs that are there.

FOLDER is made a copy of the project whose grid has, besides `pretrain.tsfm`, over three seeds: the
left-right axis mirrored with the sides exchanged, beside one that keeps the sides; and the twins
`small` and `small6` of equally many parameters, in equal time (equal_time.py measured a step of
`small` to take 2.2 times one of `small6`). Scores are the final weights' of the held-out phantoms.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from tsfm_pipeline.evaluation.statistics import bootstrap_interval
from tsfm_pipeline.reporting.markdown import markdown_table

PROJECT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
METHODS = {
    "tsfm_swap": {"augmentation": {"transforms": "light", "left_right": "swap"}},
    "tsfm_small": {"size": "small", "epochs": 8},
    "tsfm_small6": {"size": "small6", "epochs": 18},
}
KEEP = ("pretrain.tsfm", *(f"own.keep.seed{seed}" for seed in SEEDS[1:]))
SWAP, SMALL, SMALL6 = (
    tuple(f"own.{name}.seed{seed}" for seed in SEEDS) for name in ("swap", "small", "small6")
)
PAIRS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "swap - keep": (SWAP, KEEP),
    "small6 - small": (SMALL6, SMALL),
}
OWN = (*KEEP[1:], *SWAP, *SMALL, *SMALL6)
SIDED = ("_left", "_right")


def make_project(folder: Path) -> None:
    """Copy the project, with the variants in its grid."""
    for name in ("conf", "src"):
        shutil.copytree(PROJECT / name, folder / name, dirs_exist_ok=True)
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copyfile(PROJECT / name, folder / name)
    variants = {"tsfm": KEEP, "tsfm_swap": SWAP, "tsfm_small": SMALL, "tsfm_small6": SMALL6}
    experiments = [
        {"name": name, "role": "pretrain", "method": method, "seed": seed}
        for method, names in variants.items()
        for name, seed in zip(names, SEEDS, strict=True)
        if name in OWN
    ]
    (folder / "conf/grid.yml").write_text(yaml.safe_dump({"experiments": experiments}))
    path = folder / "conf/base/parameters_experiments.yml"
    settings = yaml.safe_load(path.read_text())
    settings["experiments"]["methods"] |= {
        name: {"training": training} for name, training in METHODS.items()
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False))


def train(folder: Path, names: Sequence[str]) -> None:
    """Run what has not finished."""
    make_project(folder)
    environment = os.environ | {"PYTHONPATH": str((folder / "src").absolute())}
    command = [sys.executable, "-m", "kedro", "run", "--pipelines", "own"]
    others = [name for name in OWN if names and name not in names]
    left_out = ",".join(["pretrain.nnunet", "pretrain.stunet", *others])
    params = ["--params", f"experiments.left_out=[{left_out}]"]
    subprocess.run([*command, *params], cwd=folder, env=environment, check=True)


def by_case(scores: pd.DataFrame, experiments: Sequence[str]) -> pd.Series:
    """Return each case's mean Dice over targets and experiments, by case and patient."""
    rows = scores[scores["experiment"].isin(experiments)]
    return rows.groupby(["dataset", "case", "patient"])["dice"].mean()


def lines_of(scores: pd.DataFrame) -> list[list[str]]:
    """Return a row per pair and kind of target."""
    sided = scores["target"].str.contains("|".join(SIDED))
    kinds: Mapping[str, pd.DataFrame] = {
        "all targets": scores,
        "with a side": scores[sided],
        "without": scores[~sided],
    }
    lines = []
    there = set(scores["experiment"])
    for name, (first, second) in PAIRS.items():
        if missing := {*first, *second} - there:
            print(f"{name}: not scored: {', '.join(sorted(missing))}")
            continue
        for kind, rows in kinds.items():
            one, other = by_case(rows, first), by_case(rows, second)
            difference = (one - other).dropna()
            patients = difference.index.get_level_values("patient").to_numpy()
            low, high = bootstrap_interval(difference.to_numpy(), patients, resamples=2000)
            seeds = [
                (by_case(rows, [a]) - by_case(rows, [b])).mean()
                for a, b in zip(first, second, strict=True)
            ]
            lines.append(
                [
                    name,
                    kind,
                    f"{one.mean():.3f}",
                    f"{other.mean():.3f}",
                    f"{difference.mean():+.3f}",
                    f"{low:+.3f} to {high:+.3f}",
                    ", ".join(f"{seed:+.3f}" for seed in seeds),
                    str(len(difference)),
                ]
            )
    return lines


def report(folder: Path) -> None:
    """Print the table."""
    output = folder / "data/07_model_output/phantom"
    files = [output / f"{pipeline}_scores.parquet" for pipeline in ("pretrain", "own")]
    scores = pd.concat(map(pd.read_parquet, files))
    scores = scores[(scores["weights"] == "final") & ~scores["extra"].eq(True)]
    header = [
        "first - second",
        "targets",
        "first",
        "second",
        "difference",
        "patients",
        "seeds",
        "cases",
    ]
    print(markdown_table(header, lines_of(scores), text_columns=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="where all is trained")
    parser.add_argument("command", choices=("train", "report"))
    parser.add_argument("names", nargs="*", choices=[[], *OWN], help="what to train; default: all")
    arguments = parser.parse_args()
    if arguments.command == "train":
        train(arguments.project, arguments.names)
    else:
        report(arguments.project)


if __name__ == "__main__":
    main()
