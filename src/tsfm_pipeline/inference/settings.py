"""What a user can set about prediction."""

from typing import Literal

from pydantic import Field

from tsfm_pipeline.schema import Settings


class PredictionSettings(Settings):
    """How a trained network is run over whole volumes.

    Attributes:
        step: distance of neighbouring tiles as a fraction of the patch, at most 1.
        tile_batch: tiles that go through the network together.
        mirror_axes: axes (0 = z, 1 = y, 2 = x) along which predictions of the mirrored tile are
            averaged in, all their combinations. Leave out 2 where regions have sides: a mirrored
            right kidney looks like a left one.
    """

    step: float = Field(default=0.5, gt=0, le=1)
    tile_batch: int = Field(default=1, ge=1)
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
