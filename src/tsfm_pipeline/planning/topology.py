"""How often a U-Net can halve each axis of a patch, and where its kernels are flat.

After nnU-Net v1.7.1, experiment_planning/common_utils.py:get_pool_and_conv_props (the variant that
its default planner v21 uses; package nnunetv2 took another).
"""

from functools import lru_cache

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple, TripleFloat

SMALLEST_EDGE = 4
"""No axis of the coarsest feature map gets shorter than this (voxels)."""
SIMILAR = 2
"""Axes count as equally fine while their spacings differ by less than this factor."""


class Topology(FrozenModel):
    """Strides and kernels of a U-Net for one patch, axes as the spacing's.

    Attributes:
        patch: voxels, padded so that every halving is even.
        pools: halvings of each axis.
        strides: of each down-sampling, the first at full resolution.
        kernels: of each resolution; the last is the bottleneck's.
    """

    patch: Triple
    pools: Triple
    strides: tuple[Triple, ...]
    kernels: tuple[Triple, ...]

    @property
    def divisor(self) -> Triple:
        """What each side of the patch must be a multiple of."""
        z, y, x = self.pools
        return 2**z, 2**y, 2**x


def topology_for(spacing: TripleFloat, size: Triple) -> Topology:
    """Halve the finest axes until they are too short, or the others as fine.

    Args:
        spacing: mm of each axis.
        size: wanted voxels of each axis; padded to what the halvings need.
    """
    mm, voxels = list(spacing), list(size)
    pools = [0, 0, 0]
    strides: list[Triple] = []
    kernels: list[Triple] = []
    while True:
        finest = min(mm)
        halved = [
            own / finest < SIMILAR and side >= 2 * SMALLEST_EDGE
            for own, side in zip(mm, voxels, strict=True)
        ]
        if not any(halved):
            break
        kernels.append(_kernel(*mm))
        strides.append((1 + halved[0], 1 + halved[1], 1 + halved[2]))
        for axis in range(3):
            if halved[axis]:
                pools[axis] += 1
                mm[axis] *= 2
                voxels[axis] = -(-voxels[axis] // 2)
    kernels.append((3, 3, 3))
    z, y, x = (-(-side // 2**n) * 2**n for side, n in zip(size, pools, strict=True))
    return Topology(
        patch=(z, y, x),
        pools=(pools[0], pools[1], pools[2]),
        strides=tuple(strides),
        kernels=tuple(kernels),
    )


@lru_cache(maxsize=1024)  # planning meets the same few spacings thousands of times
def _kernel(*mm: float) -> Triple:
    """Return kernels of 3 voxels along the axes that are alike in spacing, and of 1 across others.

    Alike is the largest group of axes within the factor of one of them, the first of equals.
    """
    groups = [
        [other for other in range(3) if mm[other] / own < SIMILAR and own / mm[other] < SIMILAR]
        for own in mm
    ]
    alike = max(groups, key=len)
    z, y, x = (3 if axis in alike else 1 for axis in range(3))
    return z, y, x
