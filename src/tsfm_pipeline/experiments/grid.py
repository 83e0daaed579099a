"""The grid of experiments behind the paper's Tables 1-3.

Its shape does not depend on the environment: pipelines are wired from it before any parameter is
read. Environments only set values (epochs, network size, which datasets there are); an experiment
whose data or budget an environment lacks is recorded as 'not run'.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)

Role = Literal["pretrain", "ablation", "transfer"]

DOWNSTREAM = ("brats2020", "kits19", "abdomenct1k")
BUDGETS = ("epoch10", "epoch20", "epoch50", "epoch100")
"""Table 2's columns."""
ABLATED = {"amos22": "amos22", "pancreas": "msd_pancreas"}
"""Table 3's single pre-training datasets: row name -> dataset."""


@dataclass(frozen=True)
class Experiment:
    """One training, described by data.

    Attributes:
        name: dotted; the first part is the pipeline it belongs to, the whole is its namespace.
        role: which entry of the `experiments` parameters sets its values.
        datasets: what it trains on; empty means every dataset of the pool.
        initial: the experiment whose best weights it starts from (paper 3.3), or None.
        budget: key of `experiments.transfer.epochs`; None takes the role's own epochs.
    """

    name: str
    role: Role
    datasets: tuple[str, ...] = ()
    initial: str | None = None
    budget: str | None = None

    @property
    def pipeline(self) -> str:
        """Name of the pipeline it belongs to."""
        return self.name.partition(".")[0]

    @property
    def flat_name(self) -> str:
        """Its name as a prefix of catalogue entries (dots are reserved for namespaces)."""
        return self.name.replace(".", "_")


def _transfers() -> list[Experiment]:
    return [
        Experiment(
            name=f"transfer.{dataset}.{start}.{budget}",
            role="transfer",
            datasets=(dataset,),
            initial="pretrain.tsfm" if start == "pretrained" else None,
            budget=budget,
        )
        for dataset in DOWNSTREAM
        for start in ("pretrained", "scratch")
        for budget in BUDGETS
    ]


def _ablations() -> list[Experiment]:
    grid = []
    for row, source in ABLATED.items():
        grid.append(Experiment(f"ablation.{row}", "ablation", (source,)))
        grid += [
            Experiment(
                name=f"ablation.{row}.{dataset}",
                role="transfer",
                datasets=(dataset,),
                initial=f"ablation.{row}",
                budget="epoch100",
            )
            for dataset in DOWNSTREAM
        ]
    return grid


GRID: tuple[Experiment, ...] = (
    Experiment("pretrain.tsfm", "pretrain"),
    *_transfers(),
    *_ablations(),
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
