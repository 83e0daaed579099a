"""The settings of all raw datasets, each with the reader that its `layout` names."""

from typing import Annotated

from pydantic import ConfigDict, Field, RootModel, field_validator

from tsfm_pipeline.sources.abdomenct1k import AbdomenCT1KSource
from tsfm_pipeline.sources.amos22 import Amos22Source
from tsfm_pipeline.sources.brats2020 import Brats2020Source
from tsfm_pipeline.sources.breast import BreastSource
from tsfm_pipeline.sources.btcv import BtcvSource
from tsfm_pipeline.sources.flare22 import Flare22Source
from tsfm_pipeline.sources.folders import FoldersSource
from tsfm_pipeline.sources.kits import KitsSource
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.nnunet import NnunetSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource

AnySource = Annotated[
    MsdSource
    | NnunetSource
    | FoldersSource
    | KitsSource
    | Amos22Source
    | BtcvSource
    | TotalSegmentatorSource
    | BreastSource
    | Brats2020Source
    | Flare22Source
    | AbdomenCT1KSource,
    Field(discriminator="layout"),
]
"""Settings of one dataset; `layout` says which reader they are for."""


class Datasets(RootModel[dict[str, AnySource]]):
    """All raw datasets by name, as in parameters_datasets.yml. Each source knows its name."""

    model_config = ConfigDict(frozen=True)

    @field_validator("root")
    @classmethod
    def _named(cls, sources: dict[str, AnySource]) -> dict[str, AnySource]:
        return {name: source.named(name) for name, source in sources.items()}
