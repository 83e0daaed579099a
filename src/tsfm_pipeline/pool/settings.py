"""Which datasets make the pool, what they share, and how its cases are split into folds."""

from pydantic import Field, FilePath, model_validator

from tsfm_pipeline.frozen import FrozenModel


class KnownOverlap(FrozenModel):
    """Datasets of which it is published that they share scans, or patients.

    Attributes:
        datasets: their names; those that are not in use play no part. One name alone: some
            patients of that dataset have several scans.
        source: where it is published.
        same_numbers: cases of two of them whose names end in the same number are one scan.
        same_scans: cases, as `dataset/case`, that are one scan; a list for each scan.
    """

    datasets: tuple[str, ...] = Field(min_length=1)
    source: str = Field(min_length=1)
    same_numbers: bool = False
    same_scans: tuple[tuple[str, ...], ...] = ()

    @model_validator(mode="after")
    def _of_its_datasets(self) -> "KnownOverlap":
        strange = sorted(
            key
            for scan in self.same_scans
            for key in scan
            if key.partition("/")[0] not in self.datasets
        )
        if strange:
            raise ValueError(f"same_scans: {strange} of none of the datasets {self.datasets}")
        return self


class PoolSettings(FrozenModel):
    """Names of datasets by the part they play.

    Attributes:
        datasets: the pre-training pool (ten in the paper, section 2.1).
        downstream: datasets of the transfer experiments (three in the paper, section 3.3).
        exclude_downstream: leave out of the pool every case whose patient is also downstream;
            false, as in the paper, keeps them.
        duplicate_correlation: two thumbnails that correlate at least so show one scan.
        review_correlation: two that correlate at least so, and less than that, are listed for
            people to look at.
        known_overlaps: what is published of scans that several datasets, or one, have twice.
        paper_cases: our reading of how many cases of each dataset make up the paper's 2779.
    """

    datasets: tuple[str, ...]
    downstream: tuple[str, ...] = ()
    exclude_downstream: bool = False
    duplicate_correlation: float = Field(default=0.7, gt=0, le=1)
    review_correlation: float = Field(default=0.5, gt=0, le=1)
    known_overlaps: tuple[KnownOverlap, ...] = ()
    paper_cases: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _disjoint(self) -> "PoolSettings":
        names = [*self.datasets, *self.downstream]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"pool: {repeated} named more than once in datasets and downstream")
        if self.review_correlation > self.duplicate_correlation:
            raise ValueError(
                f"pool.review_correlation is {self.review_correlation}, above"
                f" pool.duplicate_correlation, {self.duplicate_correlation}; pairs between the two"
                " are listed for review"
            )
        return self


class SplitSettings(FrozenModel):
    """Cross-validation folds, nested or as in nnU-Net.

    Attributes:
        folds: number of folds (nnU-Net: 5).
        fold: the fold that is held out and scored; the others train.
        inner_folds: into how many parts the persons of the other folds are split; the first part
            does not train, and chooses the best weights. None: the scored fold chooses them, as in
            nnU-Net, and their scores are optimistic.
        seed: of the shuffles (nnU-Net: 12345).
        files: dataset -> file like nnU-Net's splits_final.json, whose entry number `fold` is its
            split: `val` is scored, `train` trains and, with `inner_folds`, chooses. Cases that
            this entry does not name are not used. A relative path starts at the working folder.
    """

    folds: int = Field(default=5, ge=2)
    fold: int = Field(default=0, ge=0)
    inner_folds: int | None = Field(default=10, ge=2)
    seed: int = 12345
    files: dict[str, FilePath] = Field(default_factory=dict)

    def model_post_init(self, context: object) -> None:
        """Refuse a fold that does not exist."""
        if self.fold >= self.folds:
            raise ValueError(f"splits.fold is {self.fold}, but there are folds 0..{self.folds - 1}")
