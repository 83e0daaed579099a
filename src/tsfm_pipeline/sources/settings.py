"""Which datasets make the pool, and whether their labels fit the fused label table."""

from collections.abc import Mapping

from pydantic import Field, model_validator

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelError, LabelTable
from tsfm_pipeline.sources.source import Source


class PoolSettings(FrozenModel):
    """Names of datasets by the part they play.

    Attributes:
        datasets: the pre-training pool (ten in the paper, section 2.1).
        downstream: datasets of the transfer experiments (three in the paper, section 3.3).
        exclude_downstream: leave out of the pool every case whose patient is also downstream;
            false, as in the paper, keeps them.
        duplicate_correlation: two thumbnails that correlate at least so show one scan.
        paper_cases: our reading of how many cases of each dataset make up the paper's 2779.
    """

    datasets: tuple[str, ...]
    downstream: tuple[str, ...] = ()
    exclude_downstream: bool = False
    duplicate_correlation: float = Field(default=0.7, gt=0, le=1)
    paper_cases: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _disjoint(self) -> "PoolSettings":
        names = [*self.datasets, *self.downstream]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"pool: {repeated} named more than once in datasets and downstream")
        return self


def check_labels(datasets: Mapping[str, Source], table: LabelTable) -> None:
    """Check that the table knows every target that a dataset maps to.

    Raises:
        LabelError: naming dataset, source value, target and remedy, for all that don't fit.
    """
    unknown = [
        f"datasets.{dataset}.labels.{value}: unknown target {table.target_of(dataset, target)!r}"
        for dataset, source in datasets.items()
        for value, target in source.labels.items()
        if target is not None and table.target_of(dataset, target) not in table.targets
    ]
    if unknown:
        where = "targets" if table.reading == "merged" else "per_dataset"
        free = next((i for i in range(1, OUTSIDE) if i not in table.targets.values()), "none")
        raise LabelError(
            "; ".join(unknown) + f". Correct the name, add it to `labels.{where}` (the first free"
            f" integer is {free}), or map the value to null to drop it."
        )
