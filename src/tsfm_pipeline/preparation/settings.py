"""What a user sets about preparation."""

from pydantic import field_validator

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.schema import Settings


class PreparationSettings(Settings):
    """How raw cases become stored ones.

    Attributes:
        target_spacing: mm (z, y, x) of every stored case; null keeps each case's own.
        seed: of the draw of foreground locations (nnU-Net v1: 1234).
    """

    target_spacing: TripleFloat | None
    seed: int = 1234

    @field_validator("target_spacing")
    @classmethod
    def _positive(cls, spacing: TripleFloat | None) -> TripleFloat | None:
        if spacing is not None and min(spacing) <= 0:
            raise ValueError(f"{spacing} has a value that is not above 0 mm")
        return spacing


class ScreeningSettings(Settings):
    """How raw cases are looked into before anything is made of them.

    Attributes:
        verify: read and digest unchanged files once more, raw ones and stored ones, to find bytes
            that changed while a file's size and time did not.
    """

    verify: bool = False
