"""The one base class of everything a user can set."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen, typed settings that refuse unknown keys.

    A misspelt key in a parameters file must stop a run before it costs GPU time, so every
    settings model of every package derives from this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
