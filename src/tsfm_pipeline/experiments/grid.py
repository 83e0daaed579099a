"""The grid of experiments behind the paper's Tables 1-3, and what goes beyond them.

Its shape does not depend on the environment: pipelines are wired from it before any parameter is
read. Environments only set values (epochs, network size, which datasets there are); an experiment
whose data or budget an environment lacks is recorded as 'not run'.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)

Role = Literal["baseline", "pretrain", "ablation", "transfer", "study"]

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
DOWNSTREAM = ("brats2020", "kits19", "abdomenct1k")
BUDGETS = ("epoch10", "epoch20", "epoch50", "epoch100")
"""Table 2's columns for what is fine-tuned."""
LONG = "epoch1000"
"""Table 2's column for nnU-Net."""
ABLATED = {"amos22": ("amos22",), "pancreas": ("msd_pancreas",), "tumour_sets": TUMOUR_SETS}
"""Row name -> datasets of another pre-training: Table 3's single ones, and the seven tumour sets
without the organs that are said to help them."""
METHODS = ("nnunet", "swinunetr")
"""Table 1's systems that are trained on each dataset alone."""
PARTLY_ANNOTATED = ("amos22",)
"""Its MR cases lack two organs, so a softmax over all classes can't be trained on it."""
VARIANTS = ("without_transformer", "unmasked_loss", "uniform_sampling")
"""TSFM without one of its parts, pre-trained on the pool."""
FEW = ("few1", "few2", "few4")
"""Numbers of cases that a few-case transfer trains on."""
SEEDS = (1, 2)
"""Repetitions of Table 2's smallest budget."""


@dataclass(frozen=True)
class Experiment:
    """One training, described by data.

    Attributes:
        name: dotted; the first part is the pipeline it belongs to, the whole is its namespace.
        role: which entry of the `experiments` parameters sets its values.
        method: which entry of `experiments.methods` sets network, loss and optimiser.
        datasets: what it trains on; empty means every dataset of the pool.
        initial: the experiment whose best weights it starts from (paper 3.3), or None.
        budget: key of `experiments.transfer.epochs`; None takes the role's own epochs.
        cases: key of `experiments.transfer.cases`, how many it trains on; None takes all.
        seed: added to the settings' seed.
        trains: false takes the weights of `initial` as they are.
    """

    name: str
    role: Role
    method: str = "tsfm"
    datasets: tuple[str, ...] = ()
    initial: str | None = None
    budget: str | None = None
    cases: str | None = None
    seed: int = 0
    trains: bool = True

    @property
    def pipeline(self) -> str:
        """Name of the pipeline it belongs to."""
        return self.name.partition(".")[0]

    @property
    def flat_name(self) -> str:
        """Its name as a prefix of catalogue entries (dots are reserved for namespaces)."""
        return self.name.replace(".", "_")


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
        Experiment("pretrain.tsfm", "pretrain"),
        Experiment("pretrain.nnunet", "pretrain", "nnunet_regions"),
        Experiment("pretrain.stunet", "pretrain", "stunet", ("totalsegmentator",)),
    ]


def _transfer(name: str, dataset: str, budget: str, **fields: str | int | None) -> Experiment:
    return Experiment(name, "transfer", datasets=(dataset,), budget=budget, **fields)  # type: ignore[arg-type]


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
        grid.append(Experiment(f"ablation.{row}", "ablation", datasets=sources))
        grid += [
            _transfer(f"ablation.{row}.{dataset}", dataset, "epoch100", initial=f"ablation.{row}")
            for dataset in DOWNSTREAM
        ]
    return grid


def _studies() -> list[Experiment]:
    """Return what goes beyond the paper."""
    grid = [Experiment(f"study.{variant}", "study", f"tsfm_{variant}") for variant in VARIANTS]
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
                f"study.zero_shot.{dataset}",
                "transfer",
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
    return grid


GRID: tuple[Experiment, ...] = (
    *_pretrainings(),
    *_baselines(),
    *_transfers(),
    *_ablations(),
    *_studies(),
)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in GRID}
PIPELINES: tuple[str, ...] = tuple(dict.fromkeys(experiment.pipeline for experiment in GRID))
"""The pipelines that own experiments."""


def warn_of_untransferred(downstream: Sequence[str]) -> None:
    """Name the downstream datasets that no experiment trains on."""
    unused = [dataset for dataset in downstream if dataset not in DOWNSTREAM]
    if unused:
        logger.warning(
            "pool.downstream: no experiment transfers to %s, only to %s. To fine-tune on a dataset"
            " of your own, make it the pool and set experiments.pretrain.initial_weights",
            ", ".join(unused),
            ", ".join(DOWNSTREAM),
        )
