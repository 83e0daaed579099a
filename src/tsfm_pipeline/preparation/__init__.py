"""From raw cases to the store: read, remap, crop, resample, normalise MR, sample, write."""

from tsfm_pipeline.preparation.identity import PREPARATION_VERSION, preparation_digest, raw_digest
from tsfm_pipeline.preparation.prepare import prepare_case, prepare_image
from tsfm_pipeline.preparation.settings import PreparationSettings

__all__ = [
    "PREPARATION_VERSION",
    "PreparationSettings",
    "preparation_digest",
    "prepare_case",
    "prepare_image",
    "raw_digest",
]
