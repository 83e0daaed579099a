"""Halvings and kernels worked out by hand; test_plan.py compares them with nnU-Net's."""

from tsfm_pipeline.planning.network_memory import budget_values, unet_values
from tsfm_pipeline.planning.topology import topology_for


def test_a_coarse_axis_waits_until_the_others_have_caught_up():
    found = topology_for((4.0, 1.0, 1.0), (16, 64, 64))
    # 1 -> 2 mm: z is twice as coarse, still apart; 2 -> 4 mm: all alike, down to 4 voxels each
    assert found.strides == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    assert found.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert (found.pools, found.divisor) == ((2, 4, 4), (4, 16, 16))


def test_sides_are_padded_to_whole_halvings():
    assert topology_for((1.0, 1.0, 1.0), (17, 36, 40)).patch == (20, 40, 40)


def test_an_axis_too_short_to_halve_soon_stops_the_others():
    # x stays at 1 mm, so z and y count as coarse from 2 mm on: nnU-Net v1 stops here, v2 does not
    assert topology_for((1.0, 1.0, 1.0), (17, 36, 7)).pools == (1, 1, 0)


def test_the_estimate_counts_feature_maps():
    # 8 voxels at 32 features: 5 maps, 1 channel, 3 classes; 1 voxel at 64 features: 2 maps
    assert unet_values((2, 2, 2), ((2, 2, 2),), 1, 3) == 8 * (5 * 32 + 4) + 2 * 64
    assert budget_values(24.0) == 3 * budget_values(8.0)
