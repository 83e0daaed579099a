"""What a user sets about preparation."""

from typing import Literal

from pydantic import field_validator

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import TripleFloat


class PreparationSettings(FrozenModel):
    """How raw cases become stored ones.

    Attributes:
        target_spacing: mm (z, y, x) of every stored case; "median" applies nnU-Net's rule to the
            pool's usable cases, whose result then changes with them; null keeps each case's own.
        seed: of the draw of foreground locations (nnU-Net v1: 1234).
    """

    target_spacing: TripleFloat | Literal["median"] | None
    seed: int = 1234

    @field_validator("target_spacing")
    @classmethod
    def _positive(
        cls, spacing: TripleFloat | Literal["median"] | None
    ) -> TripleFloat | Literal["median"] | None:
        if isinstance(spacing, tuple) and min(spacing) <= 0:
            raise ValueError(f"{spacing} has a value that is not above 0 mm")
        return spacing

    def spacing_for(self, own: TripleFloat) -> TripleFloat:
        """Return the mm (z, y, x) that a case of a spacing of its own is resampled to.

        Raises:
            ValueError: the median of the pool has not been put in (`planning.target_spacing`).
        """
        if self.target_spacing == "median":
            raise ValueError("preparation.target_spacing: give the pool's median, in mm")
        return self.target_spacing or own


class ScreeningSettings(FrozenModel):
    """How raw cases are looked into before anything is made of them.

    Attributes:
        verify: read and digest unchanged files once more, raw ones and stored ones, to find bytes
            that changed while a file's size and time did not.
    """

    verify: bool = False
