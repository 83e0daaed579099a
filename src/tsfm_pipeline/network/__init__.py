"""The TSFM network: its blocks, its named sizes and what they cost."""

from tsfm_pipeline.network.sizes import SIZES, NetworkSettings, NetworkSize, SizeName
from tsfm_pipeline.network.tsfm import TSFM, bottleneck_grid, build_network

__all__ = [
    "SIZES",
    "TSFM",
    "NetworkSettings",
    "NetworkSize",
    "SizeName",
    "bottleneck_grid",
    "build_network",
]
