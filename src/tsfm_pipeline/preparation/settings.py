"""What a user sets about preparation, and about what is looked into before and after it."""

from typing import Literal

from pydantic import Field, field_validator

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


class AuditSettings(FrozenModel):
    """What prepared labels have to look like. Targets that a field does not name are not checked.

    Attributes:
        exclude_mirrored: quarantine a case in which every left target lies right of every right
            one; false keeps it, with the doubt in the catalogue.
        reviewed: cases, as `dataset/case`, that somebody looked at and found sound; nothing is said
            of them.
        right_organs: targets without a side that lie in the patient's right.
        left_organs: targets without a side that lie in the patient's left.
        levels: targets by their height, from head to feet: all of a level lie above all of those
            after it.
        volume_ml: target -> least and most ml. The least is asked of targets only that do not touch
            the edge of the scan.
    """

    exclude_mirrored: bool = True
    reviewed: tuple[str, ...] = ()
    right_organs: tuple[str, ...] = ()
    left_organs: tuple[str, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()
    volume_ml: dict[str, tuple[float, float]] = Field(default_factory=dict)

    @field_validator("volume_ml")
    @classmethod
    def _ordered(cls, limits: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for target, (least, most) in limits.items():
            if not 0 <= least < most:
                raise ValueError(f"{target}: {least} to {most} ml is no range")
        return limits
