"""Which experiments stand in which row of the report's table beyond the paper."""

from collections.abc import Callable, Iterable, Mapping

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import (
    ABLATED,
    BUDGETS,
    CT_DOWNSTREAM,
    DOWNSTREAM,
    FEW,
    GRID,
    LONG,
    OWN_DOWNSTREAM,
    SEEDS,
    SMALLER_SIZES,
    VARIANTS,
)
from tsfm_pipeline.experiments.own_grid import OWN
from tsfm_pipeline.reporting.beyond import BeyondRow

STARTS = ("pretrained", "scratch")


def _on(datasets: Iterable[str], *names: Callable[[str], str]) -> Mapping[str, tuple[str, ...]]:
    """Return the experiments on each dataset, by the names that they have on it."""
    return {dataset: tuple(name(dataset) for name in names) for dataset in datasets}


def _transfer(start: str, budget: str) -> Callable[[str], str]:
    return lambda dataset: f"transfer.{dataset}.{start}.{budget}"


def _study(name: str, start: str = "") -> Callable[[str], str]:
    return lambda dataset: ".".join(filter(None, ("study", name, dataset, start)))


def _pretrained() -> list[BeyondRow]:
    block = "Pre-trained on the pool"
    variants = [*VARIANTS, *(f"size_{size}" for size in SMALLER_SIZES)]
    transferred = {"without_transformer"}
    return [
        BeyondRow(
            block, "TSFM", "pretrain.tsfm", _on(DOWNSTREAM, _transfer("pretrained", BUDGETS[0]))
        ),
        BeyondRow(block, "nnU-Net", "pretrain.nnunet"),
        *(
            BeyondRow(
                block,
                f"TSFM {name.replace('_', ' ')}",
                f"study.{name}",
                _on(DOWNSTREAM, _study(name)) if name in transferred else {},
            )
            for name in variants
        ),
    ]


def _transfers() -> list[BeyondRow]:
    rows = [
        BeyondRow("No training", "zero-shot", downstream=_on(DOWNSTREAM, _study("zero_shot"))),
    ]
    rows += [
        BeyondRow(
            "Few cases",
            f"{few}, {start}",
            downstream=_on(DOWNSTREAM, _study(few, start)),
        )
        for few in FEW
        for start in STARTS
    ]
    block = "Several seeds"
    rows += [
        BeyondRow(
            block,
            start,
            downstream=_on(
                DOWNSTREAM,
                _transfer(start, BUDGETS[0]),
                *(_study(f"seed{seed}", start) for seed in SEEDS),
            ),
        )
        for start in STARTS
    ]
    own_statistics = ("ct_statistics", *(f"ct_statistics_seed{seed}" for seed in SEEDS))
    rows.append(
        BeyondRow(
            block,
            "pretrained, CT statistics of the dataset's own",
            downstream=_on(CT_DOWNSTREAM, *map(_study, own_statistics)),
        )
    )
    return rows


def own_rows(downstream: Iterable[str], grid: Iterable[Experiment]) -> list[BeyondRow]:
    """Return the rows of a user's own datasets and experiments.

    Args:
        downstream: the user's datasets that everything is transferred to.
        grid: all experiments.
    """
    block = "Transfers to your datasets"
    names = [(start, budget) for start in (*STARTS, "stunet") for budget in BUDGETS]
    rows = [
        BeyondRow(block, f"{start}, {budget}", downstream=_on(downstream, _transfer(start, budget)))
        for start, budget in [*names, ("nnunet", LONG)]
    ]
    rows += [
        BeyondRow(
            block,
            f"pre-trained on {pool.replace('_', ' ')}, {BUDGETS[-1]}",
            downstream={dataset: (f"ablation.{pool}.{dataset}",) for dataset in downstream},
        )
        for pool in ABLATED
    ]
    for entry in grid:
        if entry.pipeline == OWN:
            on = {d: (entry.name,) for d in entry.datasets if d in (*DOWNSTREAM, *downstream)}
            pool = "" if on else entry.name
            rows.append(BeyondRow("Your experiments", entry.name, pool, on))
    return rows


BEYOND_ROWS: tuple[BeyondRow, ...] = (
    *own_rows(OWN_DOWNSTREAM, GRID),
    *_pretrained(),
    *_transfers(),
)
"""What goes beyond the paper, block by block, with the paper's own experiments to compare it with.
Rows of what was not run are left out when the table is made."""
