"""What a user can set about scores."""

from fnmatch import fnmatchcase

from pydantic import Field

from tsfm_pipeline.frozen import FrozenModel


class EvaluationSettings(FrozenModel):
    """How predictions are scored and their scores averaged.

    Attributes:
        nsd_tolerance_mm: distance in mm up to which a surface counts as found by the normalised
            surface Dice.
        bootstrap_resamples: resamples behind each confidence interval.
        tumor_targets: shell patterns of the targets that count as tumours; their lesions are
            counted, and reports average them apart from the organs.
        unions: name -> targets whose union is scored, too, where a case has all of them. It is in
            no mean and no test.
    """

    nsd_tolerance_mm: float = Field(default=2.0, ge=0)
    bootstrap_resamples: int = Field(default=2000, ge=1)
    tumor_targets: tuple[str, ...]
    unions: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    def is_tumor(self, target: str) -> bool:
        """Say whether a target counts as a tumour."""
        return any(fnmatchcase(target, pattern) for pattern in self.tumor_targets)
