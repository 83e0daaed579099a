"""The TSFM network: its blocks, its named sizes and what they cost."""

from tsfm_pipeline.network.sizes import SIZES, NetworkSize, SizeName
from tsfm_pipeline.network.tsfm import TSFM, bottleneck_grid

__all__ = [
    "SIZES",
    "TSFM",
    "NetworkSize",
    "SizeName",
    "bottleneck_grid",
]
