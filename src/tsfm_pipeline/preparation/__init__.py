"""From raw cases to the store: read, remap, crop, resample, normalise MR, sample, write."""

from tsfm_pipeline.preparation.identity import PREPARATION_VERSION, RawDigests, preparation_digest
from tsfm_pipeline.preparation.prepare import prepare_case, prepare_image
from tsfm_pipeline.preparation.settings import PreparationSettings

__all__ = [
    "PREPARATION_VERSION",
    "PreparationSettings",
    "RawDigests",
    "preparation_digest",
    "prepare_case",
    "prepare_image",
]
