"""The TSFM network: its blocks, its named sizes and what they cost."""

from tsfm_pipeline.network.sizes import SIZES, SizeName, TsfmSize
from tsfm_pipeline.network.tsfm import TSFM, bottleneck_grid

__all__ = [
    "SIZES",
    "TSFM",
    "SizeName",
    "TsfmSize",
    "bottleneck_grid",
]
