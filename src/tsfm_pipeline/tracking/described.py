"""What MLflow is told of a training, so that lists can be grouped, filtered and read."""

from collections.abc import Mapping
from colorsys import hls_to_rgb
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.tracking.runs import POOL_TAG
from tsfm_pipeline.tracking.source import GIT_COMMIT

WHOLE_POOL = "pool"
"""Name of the dataset of a training on all datasets of the pool."""

FROM_THE_RUN = (
    *("environment", "workspace", "machine", "commit", "dirty", GIT_COMMIT),
    *("mlflow.user", "mlflow.source.name", "mlflow.source.type"),
)
"""Tags of a Kedro run that its trainings get, too."""

CASE_COLUMNS = ["key", "dataset", "role"]
"""What MLflow is told of the cases: it warns of integers, for they can't be missing."""

SHORT = {"pretrained": "pre", "scratch": "scr"}
GOLDEN_ANGLE = 0.381966
"""Of a circle: its multiples keep apart, however many there are."""

PARAMETERS = {
    "network": ("network", "size"),
    "sample": ("patch", "batch_size", "oversample_foreground"),
    "optimiser": ("loss", "optimizer", "learning_rate", "momentum", "weight_decay", "poly_power"),
    "schedule": ("iterations_per_epoch", "heads_first_epochs", "warmup_epochs"),
    "augmentation": ("augmentation.transforms", "augmentation.mirror_axes"),
}
"""Settings of a training that lists show, by group; none that a resumed training may change, for
MLflow keeps the first value. All of them are in settings.json."""


@dataclass(frozen=True)
class TrainingDescription:
    """What a training is to be found by.

    Attributes:
        tags: short names and values.
        cases: one row per case that it may see.
        store: the folder that they are read from.
    """

    tags: Mapping[str, str]
    cases: pd.DataFrame
    store: Path


def describe_training(
    experiment: Experiment, splits: pd.DataFrame, store: Path, *, pretrained: bool
) -> TrainingDescription:
    """Describe the training of an experiment.

    Args:
        experiment: the entry of the grid.
        splits: key, dataset, role of every case in use, and the version of the pool.
        store: folder of the prepared cases.
        pretrained: whether it starts from weights.
    """
    of_dataset = splits["dataset"].isin(experiment.datasets)
    tags = {
        "method": experiment.method,
        "dataset": "+".join(experiment.datasets) or WHOLE_POOL,
        "start": "pretrained" if pretrained else "scratch",
        "initial": experiment.initial or "",
        "budget": experiment.budget or "",
        POOL_TAG: str(splits["pool_version"].iat[0]),
    }
    return TrainingDescription(
        tags={name: value for name, value in tags.items() if value},
        cases=splits.loc[of_dataset if experiment.datasets else splits["pool"], CASE_COLUMNS],
        store=store,
    )


def short_name(experiment: str) -> str:
    """Shorten an experiment's name: MLflow's list beside the charts has room for 20 characters.

    >>> short_name("transfer.kits19.pretrained.epoch100")
    'kits19 pre 100'
    """
    words = experiment.split(".")[1:] or [experiment]
    return " ".join(SHORT.get(word, word.removeprefix("epoch")) for word in words)


def run_color(experiment: str) -> str:
    """Choose a colour for the curves of an experiment, far from those of its neighbours.

    MLflow's own palette gives 20 runs many colours twice.
    """
    number = list(EXPERIMENTS).index(experiment) if experiment in EXPERIMENTS else 0
    hue, lightness = number * GOLDEN_ANGLE % 1, (0.33, 0.45, 0.57)[number % 3]
    red, green, blue = (round(255 * part) for part in hls_to_rgb(hue, lightness, 0.75))
    return f"#{red:02x}{green:02x}{blue:02x}"


def headline_parameters(settings: Mapping[str, Any]) -> dict[str, str]:
    """Pick the settings that lists show, under `group.name`.

    Args:
        settings: of a training, flattened to dotted names.
    """
    return {
        f"{group}.{name.rpartition('.')[2]}": str(settings[name])
        for group, names in PARAMETERS.items()
        for name in names
        if name in settings
    }
