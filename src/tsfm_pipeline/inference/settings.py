"""What a user can set about prediction."""

from typing import Literal

from pydantic import Field

from tsfm_pipeline.frozen import FrozenModel


class InferenceSettings(FrozenModel):
    """How a trained network is run over whole volumes.

    Attributes:
        step: distance of neighbouring tiles as a fraction of the patch, at most 1.
        tile_batch: tiles that go through the network together.
        mirror_axes: axes (0 = z, 1 = y, 2 = x) along which predictions of the mirrored tile are
            averaged in, all their combinations. Of these, each model takes the ones that its
            training mirrored (`mirroring.mirroring_for`).
        skip_air: leave out tiles without anatomy, which count as background
            (`sliding_window.is_air`).
        postprocessing_cases: training cases of each dataset on which it is decided where keeping
            only the largest component helps; 0 leaves postprocessing out.
    """

    step: float = Field(default=0.5, gt=0, le=1)
    tile_batch: int = Field(default=1, ge=1)
    mirror_axes: tuple[Literal[0, 1, 2], ...] = ()
    skip_air: bool = False
    postprocessing_cases: int = Field(default=0, ge=0)

    def deciding(self) -> dict[str, object]:
        """Return what decides the labels: all but the batch of tiles."""
        settings = self.model_dump(mode="json", exclude={"tile_batch"})
        # 1 mirrored along any axis, and called left and right in the mirror what they are outside
        return settings | {"mirroring": 2} if self.mirror_axes else settings
