"""The step from nnU-Net's plan to TSFM, whose four halvings act on every axis."""

import math

from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.geometry import Triple
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.planning.network_memory import tsfm_activation_gib
from tsfm_pipeline.planning.plan import Plan

DIVISOR = 16
"""Of four halvings. What has more or fewer of them takes such a patch, too: odd sides are halved
upwards (`network.tsfm`)."""
SMALLEST_BATCH = 2


class TsfmPlan(FrozenModel):
    """What TSFM is trained with on a dataset, axes (z, y, x).

    Attributes:
        patch: voxels, a multiple of 16 on each axis.
        batch_size: samples per iteration.
        bottleneck: voxels of the patch's coarsest grid, at least two.
        activation_gib: GiB that each network size keeps for the backward pass of one sample, in
            two-byte numbers and without checkpointing. An estimate of its own: nnU-Net's speaks
            of nnU-Net's U-Net, and its memory limit is not applied to TSFM.
        reasons: of each choice, in plain words.
    """

    patch: Triple
    batch_size: int
    bottleneck: Triple
    activation_gib: dict[str, float]
    reasons: dict[str, str]


def plan_for_tsfm(plan: Plan) -> TsfmPlan:
    """Adapt the full-resolution stage of a plan to TSFM.

    Each side goes to the nearest multiple of 16, upwards half-way; a patch of one bottleneck voxel
    gets a second one on the longest axis, which instance normalisation needs. The batch covers no
    more voxels than nnU-Net's, but has at least two samples.
    """
    planned = plan.fullres.topology.patch
    sides = [0, 0, 0]
    for axis, side in zip(plan.axes, planned, strict=True):
        sides[axis] = max(DIVISOR, (side + DIVISOR // 2) // DIVISOR * DIVISOR)
    if max(sides) == DIVISOR:
        longest = plan.axes[max(range(3), key=lambda axis: plan.fullres.median_shape[axis])]
        sides[longest] *= 2
    patch = (sides[0], sides[1], sides[2])
    covered = plan.fullres.batch_size * math.prod(planned)
    return TsfmPlan(
        patch=patch,
        batch_size=max(SMALLEST_BATCH, covered // math.prod(patch)),
        bottleneck=(sides[0] // DIVISOR, sides[1] // DIVISOR, sides[2] // DIVISOR),
        activation_gib={
            name: round(tsfm_activation_gib(size, patch), 2) for name, size in SIZES.items()
        },
        reasons={
            "patch": (
                f"nnU-Net's patch, each side to the nearest multiple of {DIVISOR}, in the order"
                " z, y, x"
            ),
            "batch_size": (
                f"no more voxels than nnU-Net's batch of {plan.fullres.batch_size}, and at least"
                f" {SMALLEST_BATCH} samples"
            ),
            "activation_gib": (
                "an estimate; checkpointing (or a smaller batch) is what makes the large sizes fit"
            ),
        },
    )
