"""The adaptation to TSFM, and what it says about memory."""

import json
import math
from functools import cache
from pathlib import Path

import pytest

from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.network_memory import tsfm_activation_gib
from tsfm_pipeline.planning.plan import plan_dataset
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.planning.tsfm_plan import plan_for_tsfm

REFERENCE = Path(__file__).parents[1] / "reference"
FINGERPRINTS = json.loads((REFERENCE / "fingerprints.json").read_text())


@cache
def plans(name):
    plan = plan_dataset(Fingerprint(dataset=name, **FINGERPRINTS[name]), PlanningSettings())
    return plan, plan_for_tsfm(plan)


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_patches_suit_four_halvings_and_stay_near_nnunets(name):
    plan, tsfm = plans(name)
    assert all(side % 16 == 0 and side >= 16 for side in tsfm.patch)
    assert math.prod(tsfm.bottleneck) >= 2
    assert tsfm.bottleneck == tuple(side // 16 for side in tsfm.patch)
    for axis, side in zip(plan.axes, plan.fullres.topology.patch, strict=True):
        assert abs(tsfm.patch[axis] - side) <= 8 or tsfm.patch[axis] in (16, 32)
    voxels = plan.fullres.batch_size * math.prod(plan.fullres.topology.patch)
    assert tsfm.batch_size == 2 or tsfm.batch_size * math.prod(tsfm.patch) <= voxels


def test_by_hand():
    assert plans("hippocampus")[1].patch == (48, 64, 48)  # of 40 x 56 x 40, batch 9
    assert plans("hippocampus")[1].batch_size == 5
    assert plans("msd_pancreas")[1].patch == (48, 224, 224)  # of 40 x 224 x 224
    assert plans("sagittal")[1].patch == (256, 256, 32)  # of 28 x 256 x 256, slices along x


def test_one_bottleneck_voxel_gets_a_neighbour():
    fingerprint = Fingerprint(
        dataset="tiny",
        modalities=("MR",),
        channels=1,
        classes=1,
        shapes=((12, 14, 9),) * 4,
        spacings=((1.0, 1.0, 1.0),) * 4,
        size_reduction=1.0,
    )
    tsfm = plan_for_tsfm(plan_dataset(fingerprint, PlanningSettings()))
    assert tsfm.patch == (16, 32, 16)
    assert tsfm.bottleneck == (1, 2, 1)


@pytest.mark.parametrize("size", ["small", "huge"])
def test_activations_are_near_what_autograd_keeps(size):
    """Counted on the meta device: all memory that a forward pass saves, in two bytes a number."""
    patch = (112, 160, 192)
    counted = footprint(SIZES[size], 1, 30, patch).kept_values * 2 / 2**30
    assert tsfm_activation_gib(SIZES[size], patch) == pytest.approx(counted, rel=0.15)
