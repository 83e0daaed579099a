"""The table of what was run and stands in no table of the paper: studies and one's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.reporting.paper_tables import (
    Block,
    Column,
    OwnCell,
    PaperTable,
    PaperTables,
    Row,
    Scores,
)

BEYOND = "beyond"
"""Its name among the tables."""

TITLE = "Beyond the paper. Dice of studies and of your own experiments"
NOTES = (
    "Not in the paper. Downstream: mean over all targets of the dataset; Table 2 shows the tumours"
    " of BraTS2020 and KiTS2019 alone. Pool: mean over the targets of the datasets that the"
    " training was scored on.",
    "A figure of several seeds is the mean over the trainings, with their standard deviation."
    " Transfers take the smallest budget (experiments.transfer.epochs.epoch10) where their row"
    " names no other; few1, few2 and few4 are experiments.transfer.cases. What was not run is left"
    " out.",
)
POOL = {"pool_tumours": "tumours", "pool_organs": "organs"}
"""Columns of what was trained on the pool."""

Found = Mapping[str, Mapping[str, Sequence[str]]]
"""Experiment -> dataset -> the targets that it was scored on."""


@dataclass(frozen=True)
class BeyondRow:
    """A line of the table.

    Attributes:
        block: heading over the rows that belong together.
        heading: of the row.
        pool: the experiment that is scored on the pool; empty where none is.
        downstream: dataset -> the experiments that are scored on it: one, or one for each seed.
    """

    block: str
    heading: str
    pool: str = ""
    downstream: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def experiments(self) -> list[str]:
        """All that stand behind it."""
        return [*filter(None, [self.pool]), *(e for many in self.downstream.values() for e in many)]


def with_table_beyond(
    tables: PaperTables,
    rows: Iterable[BeyondRow],
    scores: pd.DataFrame,
    evaluation: EvaluationSettings,
) -> PaperTables:
    """Add the table to those of the paper; without anything to show they stay as they are.

    A block is there if one of its rows shows what no table of the paper and no block before it
    does: another experiment, or other datasets. Its other rows are there for comparison.

    Args:
        tables: the paper's.
        rows: what may be in it, block by block.
        scores: rows of `metrics.SCORES_SCHEMA` of all that was run.
        evaluation: which targets are tumours.
    """
    found = _found(scores)
    elsewhere, datasets = _in_tables(tables)
    blocks = []
    for block, members in groupby(rows, lambda row: row.block):
        run = [row for row in members if found.keys() & set(row.experiments)]
        names = {name for row in run for name in row.experiments if name in found}
        if any(name not in elsewhere or found[name].keys() - datasets for name in names):
            lines = [Row(name=r.heading, cells=_cells(r, found, evaluation)) for r in run]
            blocks.append(Block(name=block, rows=tuple(lines)))
            elsewhere |= names
            datasets |= {dataset for name in names for dataset in found[name]}
    if not blocks:
        return tables
    table = PaperTable(title=TITLE, notes=NOTES, columns=_columns(blocks), blocks=tuple(blocks))
    return PaperTables({**tables.root, BEYOND: table})


def _found(scores: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    rows = without_extra(scores[scores["dice"].notna()])
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows[["experiment", "dataset", "target"]].drop_duplicates().to_dict("records"):
        of_experiment = found.setdefault(str(row["experiment"]), {})
        of_experiment.setdefault(str(row["dataset"]), []).append(str(row["target"]))
    return found


def _in_tables(tables: PaperTables) -> tuple[set[str], set[str]]:
    """Return the experiments and the datasets that the paper's tables show."""
    experiments, datasets = set(), set()
    for table in tables.root.values():
        for block in table.blocks:
            for row in block.rows:
                for column in table.columns:
                    experiments |= set(row.experiments_of(column))
                    datasets |= {s.dataset for s in table.scores_of(block, row, column)}
    return experiments, datasets


def _cells(row: BeyondRow, found: Found, evaluation: EvaluationSettings) -> dict[str, OwnCell]:
    """Make the cells of what was scored, and of what was not where others of the row were."""
    cells = {}
    for dataset, experiments in row.downstream.items():
        run = [name for name in experiments if dataset in found.get(name, {})]
        cells[dataset] = OwnCell(
            experiments=tuple(run or experiments[:1]),
            scores=(Scores(dataset=dataset, targets="all"),),
        )
    parts = [(d, target) for d, many in found.get(row.pool, {}).items() for target in many]
    for key, tumours in zip(POOL, (True, False), strict=True):
        of_kind = [(d, target) for d, target in parts if evaluation.is_tumor(target) == tumours]
        if of_kind:
            scores = tuple(Scores(dataset=d, targets=(target,)) for d, target in of_kind)
            cells[key] = OwnCell(experiments=(row.pool,), scores=scores)
    return cells


def _columns(blocks: Iterable[Block]) -> tuple[Column, ...]:
    """Return a column for each dataset that any row names, and the pool's that are filled."""
    keys = dict.fromkeys(key for block in blocks for row in block.rows for key in row.cells)
    downstream = [Column(key=key, name=key, group="downstream") for key in keys if key not in POOL]
    pool = [Column(key=key, name=name, group="pool") for key, name in POOL.items() if key in keys]
    return (*downstream, *pool)
