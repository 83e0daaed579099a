"""The grid of experiments behind the paper's Tables 1-3, and what goes beyond them.

Its shape does not depend on the environment: pipelines are wired from it before any parameter is
read. Environments only set values (epochs, network size, which datasets there are); an experiment
whose data or budget an environment lacks is recorded as 'not run'.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.own_grid import GRID_FILE, GridError, read_own_grid

logger = logging.getLogger(__name__)

TUMOUR_SETS = (
    "msd_liver",
    "msd_lung",
    "msd_pancreas",
    "msd_hepaticvessel",
    "msd_colon",
    "kits21",
    "breast",
)
"""The pool's datasets with tumours: Table 1's columns."""
ORGAN_SETS = ("amos22", "btcv", "totalsegmentator")
"""The pool's other datasets: Table S1."""
_OWN = read_own_grid(Path.cwd())
OWN_DOWNSTREAM = _OWN.downstream
"""A user's datasets for transfer."""
DOWNSTREAM = ("brats2020", "kits19", "abdomenct1k", *OWN_DOWNSTREAM)
"""The paper's datasets for transfer, and a user's."""
BUDGETS = ("epoch10", "epoch20", "epoch50", "epoch100")
"""Table 2's columns for what is fine-tuned."""
LONG = "epoch1000"
"""Table 2's column for nnU-Net."""
LEAKAGE_FREE = "leakage_free"
ABLATED: dict[str, tuple[str, ...]] = {
    "amos22": ("amos22",),
    "pancreas": ("msd_pancreas",),
    "tumour_sets": TUMOUR_SETS,
    LEAKAGE_FREE: (),
}
"""Row name -> datasets of another pre-training: Table 3's single ones, the seven tumour sets
without the organs that are said to help them, the whole pool without downstream persons."""
PROMPTED = "pretrain.sam_med3d"
"""SAM-Med3D, which is not trained here: published weights are prompted and scored."""
METHODS = ("nnunet", "swinunetr")
"""Table 1's systems that are trained on each dataset alone."""
PARTLY_ANNOTATED = ("amos22",)
"""Its MR cases lack two organs, so a softmax over all classes can't be trained on it."""
VARIANTS = ("without_transformer", "unmasked_loss", "uniform_sampling")
"""TSFM without one of its parts, pre-trained on the pool."""
SMALLER_SIZES = ("small", "base", "large")
"""Of TSFM's network, pre-trained on the pool, beside the paper's huge."""
FEW = ("few1", "few2", "few4")
"""Numbers of cases that a few-case transfer trains on."""
SEEDS = (1, 2)
"""Repetitions of Table 2's smallest budget."""
MR_SETS = ("brats2020",)
"""MR is z-scored case by case, so CT statistics say nothing there."""
CT_DOWNSTREAM = tuple(dataset for dataset in DOWNSTREAM if dataset not in MR_SETS)


def _baselines() -> list[Experiment]:
    """Return Table 1's and S1's trainings on single datasets."""
    return [
        Experiment(
            name=f"baseline.{method}.{dataset}",
            role="baseline",
            method=f"{method}_regions" if dataset in PARTLY_ANNOTATED else method,
            datasets=(dataset,),
        )
        for method in METHODS
        for dataset in (*TUMOUR_SETS, *ORGAN_SETS)
    ]


def _pretrainings() -> list[Experiment]:
    return [
        Experiment(name="pretrain.tsfm", role="pretrain"),
        Experiment(name="pretrain.nnunet", role="pretrain", method="nnunet_regions"),
        Experiment(
            name="pretrain.stunet",
            role="pretrain",
            method="stunet",
            datasets=("totalsegmentator",),
        ),
    ]


def _transfer(name: str, dataset: str, budget: str, **fields: Any) -> Experiment:
    return Experiment(name=name, role="transfer", datasets=(dataset,), budget=budget, **fields)


def _transfers() -> list[Experiment]:
    """Return Table 2."""
    starts = {"pretrained": "pretrain.tsfm", "scratch": None, "stunet": "pretrain.stunet"}
    grid = []
    for dataset in DOWNSTREAM:
        for start, initial in starts.items():
            method = "stunet" if start == "stunet" else "tsfm"
            grid += [
                _transfer(
                    f"transfer.{dataset}.{start}.{budget}",
                    dataset,
                    budget,
                    method=method,
                    initial=initial,
                )
                for budget in BUDGETS
            ]
        grid.append(_transfer(f"transfer.{dataset}.nnunet.{LONG}", dataset, LONG, method="nnunet"))
    return grid


def _ablations() -> list[Experiment]:
    """Return Table 3."""
    grid = []
    for row, sources in ABLATED.items():
        grid.append(
            Experiment(
                name=f"ablation.{row}",
                role="ablation",
                datasets=sources,
                leakage_free=row == LEAKAGE_FREE,
            )
        )
        grid += [
            _transfer(f"ablation.{row}.{dataset}", dataset, "epoch100", initial=f"ablation.{row}")
            for dataset in DOWNSTREAM
        ]
    return grid


def _studies() -> list[Experiment]:
    """Return what goes beyond the paper."""
    grid = [
        Experiment(name=f"study.{variant}", role="study", method=f"tsfm_{variant}")
        for variant in VARIANTS
    ]
    grid += [
        Experiment(name=f"study.size_{size}", role="study", method=f"tsfm_{size}")
        for size in SMALLER_SIZES
    ]
    for dataset in DOWNSTREAM:
        grid += [
            _transfer(
                f"study.without_transformer.{dataset}",
                dataset,
                "epoch10",
                method="tsfm_without_transformer",
                initial="study.without_transformer",
            ),
            Experiment(
                name=f"study.zero_shot.{dataset}",
                role="transfer",
                datasets=(dataset,),
                initial="pretrain.tsfm",
                trains=False,
            ),
        ]
        for start, initial in {"pretrained": "pretrain.tsfm", "scratch": None}.items():
            grid += [
                _transfer(
                    f"study.{few}.{dataset}.{start}",
                    dataset,
                    "epoch10",
                    initial=initial,
                    cases=few,
                )
                for few in FEW
            ]
            grid += [
                _transfer(
                    f"study.seed{seed}.{dataset}.{start}",
                    dataset,
                    "epoch10",
                    initial=initial,
                    seed=seed,
                )
                for seed in SEEDS
            ]
    return grid + _studies_of_statistics()


def _studies_of_statistics() -> list[Experiment]:
    """Return pre-trained transfers that take CT statistics of their own, once for each seed."""
    names = {0: "ct_statistics"} | {seed: f"ct_statistics_seed{seed}" for seed in SEEDS}
    return [
        _transfer(
            f"study.{name}.{dataset}",
            dataset,
            "epoch10",
            method="tsfm_own_statistics",
            initial="pretrain.tsfm",
            seed=seed,
        )
        for dataset in CT_DOWNSTREAM
        for seed, name in names.items()
    ]


GRID: tuple[Experiment, ...] = (
    *_pretrainings(),
    *_baselines(),
    *_transfers(),
    *_ablations(),
    *_studies(),
    *_OWN.experiments,
)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in GRID}
PIPELINES: tuple[str, ...] = tuple(dict.fromkeys(experiment.pipeline for experiment in GRID))
"""The pipelines that own experiments."""


def check_grid(grid: Sequence[Experiment]) -> None:
    """Refuse names that occur twice, unknown keys, and starting points that come after their users.

    Raises:
        GridError: naming the experiment.
    """
    counts = Counter(entry.flat_name for entry in grid)
    seen: set[str] = set()
    for entry in grid:
        if counts[entry.flat_name] > 1:
            raise GridError(f"{GRID_FILE}: {entry.name} is there twice")
        if entry.initial is not None and entry.initial not in seen:
            raise GridError(
                f"{GRID_FILE}: {entry.name} starts from {entry.initial!r}, which is no experiment"
                " before it"
            )
        for field, known in (("budget", (*BUDGETS, LONG)), ("cases", FEW)):
            key = getattr(entry, field)
            if key is not None and key not in known:
                raise GridError(
                    f"{GRID_FILE}: {entry.name}: {field} {key!r} is none of {', '.join(known)}"
                )
        if not entry.trains and entry.initial is None:
            raise GridError(f"{GRID_FILE}: {entry.name} does not train: name its `initial`")
        seen.add(entry.name)


check_grid(GRID)


def warn_of_untransferred(downstream: Sequence[str]) -> None:
    """Name the downstream datasets that no experiment trains on."""
    unused = [dataset for dataset in downstream if dataset not in DOWNSTREAM]
    if unused:
        logger.warning(
            "pool.downstream: no experiment transfers to %s, only to %s; name your own under"
            " `downstream` in %s",
            ", ".join(unused),
            ", ".join(DOWNSTREAM),
            GRID_FILE,
        )
