"""The base class of every settings model and every record that is written to a file."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Frozen, typed fields; unknown keys are refused.

    A misspelt key in a parameters file must stop a run before it costs GPU time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
