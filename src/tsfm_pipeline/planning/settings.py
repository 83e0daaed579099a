"""What a user sets about planning."""

from pydantic import PositiveFloat

from tsfm_pipeline.schema import Settings


class PlanningSettings(Settings):
    """What a plan is made for.

    Attributes:
        memory_gb: memory of the GPU, GB. nnU-Net v1 plans for 8; other sizes scale its limit
            linearly.
    """

    memory_gb: PositiveFloat = 8.0
