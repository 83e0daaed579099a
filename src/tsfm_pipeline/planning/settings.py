"""What a user sets about planning."""

from pydantic import PositiveFloat

from tsfm_pipeline.frozen import FrozenModel


class PlanningSettings(FrozenModel):
    """What a plan is made for.

    Attributes:
        memory_gb: memory of the GPU, GB. nnU-Net v1 plans for 8; other sizes scale its limit
            linearly.
    """

    memory_gb: PositiveFloat = 8.0
