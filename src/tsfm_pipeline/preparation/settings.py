"""What a user sets about preparation."""

from pydantic import field_validator

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.schema import Settings


class PreparationSettings(Settings):
    """How raw cases become stored ones.

    Attributes:
        target_spacing: mm (z, y, x) of every stored case; null keeps each case's own.
        seed: of the draw of foreground locations (nnU-Net v1: 1234).
        jobs: cases prepared or scored at once; -1 takes one per CPU core. Changes nothing in the
            result.
    """

    target_spacing: TripleFloat | None
    seed: int = 1234
    jobs: int = -1

    @field_validator("target_spacing")
    @classmethod
    def _positive(cls, spacing: TripleFloat | None) -> TripleFloat | None:
        if spacing is not None and min(spacing) <= 0:
            raise ValueError(f"{spacing} has a value that is not above 0 mm")
        return spacing

    @field_validator("jobs")
    @classmethod
    def _some(cls, jobs: int) -> int:
        if jobs < 1 and jobs != -1:
            raise ValueError(f"{jobs} jobs; give at least 1, or -1 for one per CPU core")
        return jobs


class ScreeningSettings(Settings):
    """How raw cases are looked into before anything is made of them.

    Attributes:
        verify: read and digest unchanged files once more, to find bytes that changed while a
            file's size and time did not.
    """

    verify: bool = False
