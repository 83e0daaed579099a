"""The network that a training's settings ask for."""

from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import NETWORKS, Architecture, UNetShape, UNetSize
from tsfm_pipeline.planning.topology import topology_for


def architecture_for(settings: TrainingSettings, spacing: TripleFloat | None) -> Architecture:
    """Return the numbers of the network that is to be trained.

    The depth and kernels of nnU-Net's U-Net follow from patch and spacing, by nnU-Net's rule.

    Args:
        settings: name, size and patch.
        spacing: mm (z, y, x) of the cases; None, where each keeps its own, counts as isotropic.
    """
    size = NETWORKS[settings.network][settings.size]
    if isinstance(size, UNetSize):
        topology = topology_for(spacing or (1.0, 1.0, 1.0), settings.patch)
        return UNetShape(channels=size.channels, strides=topology.strides, kernels=topology.kernels)
    return size
