"""Settings of the built-in synthetic data."""

import hashlib
import json

from pydantic import Field, field_validator

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.phantom.layouts import PLANNERS

GENERATOR_VERSION = 1
"""Raise by hand whenever the same settings give other files."""


class PhantomSettings(FrozenModel):
    """What synthetic data to make.

    Attributes:
        seed: number from which every patient, grid and noise value follows.
        cases: dataset name -> labelled cases to make (unlabelled test cases come on top).
        spacing_scale: multiplies the voxel spacing of every dataset (4 to 6.5 mm at 1); 1.5 gives
            volumes of a third of the voxels.
    """

    seed: int = 2403
    cases: dict[str, int]
    spacing_scale: float = Field(default=1.0, ge=0.1, le=2.0)

    @field_validator("cases")
    @classmethod
    def _known_datasets(cls, cases: dict[str, int]) -> dict[str, int]:
        for dataset, count in cases.items():
            if dataset not in PLANNERS:
                raise ValueError(
                    f"phantom.cases.{dataset}: no such dataset; known are {', '.join(PLANNERS)}"
                )
            if count < 1:
                raise ValueError(
                    f"phantom.cases.{dataset}: {count} cases; give at least 1 or leave it out"
                )
        return cases

    @property
    def digest(self) -> str:
        """Fingerprint of everything that decides the files' content."""
        content = self.model_dump() | {"version": GENERATOR_VERSION}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
