"""The paper's Tables 1-3 as data: printed numbers, and which experiment gives ours."""

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field, RootModel, model_validator

from tsfm_pipeline.frozen import FrozenModel


class Scores(FrozenModel):
    """The scores behind a cell: the mean over some targets of one dataset.

    Attributes:
        dataset: name of the dataset entry.
        targets: regions or extra targets (`evaluation.extra_targets`), or `all` regions that were
            scored on the dataset.
    """

    dataset: str
    targets: tuple[str, ...] | Literal["all"]


class Column(FrozenModel):
    """One column of a table.

    Attributes:
        key: name for reference.
        name: heading as printed.
        group: heading above it, as printed.
        scores: what its cells score; None where the block says it, or for a mean.
        mean_of: keys of the columns that our figure averages.
    """

    key: str
    name: str
    group: str = ""
    scores: Scores | None = None
    mean_of: tuple[str, ...] = ()


class OwnCell(FrozenModel):
    """What our figure of a single cell is made of.

    Attributes:
        experiments: that give it: one, or the same training with several seeds.
        scores: the means that it averages.
    """

    experiments: tuple[str, ...] = Field(min_length=1)
    scores: tuple[Scores, ...] = Field(min_length=1)


class Row(FrozenModel):
    """One method of a table.

    Attributes:
        name: as printed.
        label: short heading for our rendering; the name where empty.
        experiment: the experiment that gives our figure; `{column}` stands for the column's key,
            `{dataset}` for the dataset that it scores.
        cells: instead of `experiment`, by column key; other columns are empty.
        paper: printed number by column key.
    """

    name: str
    label: str = ""
    experiment: str | None = None
    cells: dict[str, OwnCell] = Field(default={})
    paper: dict[str, float] = Field(default={})

    @property
    def heading(self) -> str:
        """Its label, or its name."""
        return self.label or self.name

    def experiments_of(self, column: Column) -> tuple[str, ...]:
        """Return the experiments behind a cell, several of several seeds; none without a figure."""
        if self.experiment is None:
            own = self.cells.get(column.key)
            return own.experiments if own else ()
        if self.paper and column.key not in self.paper:
            return ()
        dataset = column.scores.dataset if column.scores else "*"
        return (self.experiment.replace("{column}", column.key).replace("{dataset}", dataset),)

    def experiment_of(self, column: Column) -> str | None:
        """Return the experiment that a cell names, the first of several; None without a figure."""
        return next(iter(self.experiments_of(column)), None)


class Block(FrozenModel):
    """Rows under one heading.

    Attributes:
        name: heading as printed; empty in a table of one block.
        scores: what all its cells score; None where the columns say it.
        rows: the methods.
    """

    name: str = ""
    scores: Scores | None = None
    rows: tuple[Row, ...]


class PaperTable(FrozenModel):
    """One table of the paper.

    Attributes:
        title: our heading.
        caption: the paper's caption, word for word; empty for a table that it does not have.
        notes: printed below our rendering.
        columns: in the paper's order.
        blocks: in the paper's order.
    """

    title: str
    caption: str = ""
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]

    @model_validator(mode="after")
    def _consistent(self) -> "PaperTable":
        keys = [column.key for column in self.columns]
        if len(set(keys)) < len(keys):
            raise ValueError(f"{self.title}: column keys repeat: {keys}")
        for column in self.columns:
            _refuse_unknown(column.mean_of, keys, f"{self.title}: {column.key}.mean_of")
        for block in self.blocks:
            by_column = any(not row.cells for row in block.rows)
            for column in self.columns:
                sources = [column.scores, block.scores, column.mean_of or None]
                if by_column and sum(source is not None for source in sources) != 1:
                    raise ValueError(
                        f"{self.title}: cells of {block.name or 'the block'} / {column.key} need"
                        " exactly one of column scores, block scores and mean_of"
                    )
            for row in block.rows:
                where = f"{self.title}: {block.name} {row.name}"
                _refuse_unknown(row.paper, keys, f"{where}: paper")
                _refuse_unknown(row.cells, keys, f"{where}: cells")
                if (row.experiment is None) != bool(row.cells):
                    raise ValueError(f"{where}: give either an experiment or cells")
        return self

    def scores_of(self, block: Block, row: Row, column: Column) -> tuple[Scores, ...]:
        """Return the scores behind a cell: one entry, or those that its figure averages."""
        if row.cells:
            return row.cells[column.key].scores
        if column.mean_of:
            others = {other.key: other for other in self.columns}
            return tuple(
                s for key in column.mean_of for s in self.scores_of(block, row, others[key])
            )
        scores = column.scores or block.scores
        assert scores is not None  # the validator above
        return (scores,)


class PaperTables(RootModel[dict[str, PaperTable]]):
    """All tables by name (`table_1`, ...), in the order that they are shown in."""

    model_config = ConfigDict(frozen=True)


def _refuse_unknown(
    given: tuple[str, ...] | Mapping[str, object], keys: list[str], where: str
) -> None:
    unknown = [key for key in given if key not in keys]
    if unknown:
        raise ValueError(f"{where}: {unknown} not among the columns {keys}")
