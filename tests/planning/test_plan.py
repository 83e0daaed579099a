"""Plans against those of nnU-Net v1.7.1 itself (tests/reference/nnunet_v1_plans.py)."""

import json
from functools import cache
from pathlib import Path

import pytest

from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.network_memory import budget_values
from tsfm_pipeline.planning.plan import Plan, StagePlan, plan_dataset
from tsfm_pipeline.planning.settings import PlanningSettings

REFERENCE = Path(__file__).parents[1] / "reference"
THEIRS = json.loads((REFERENCE / "nnunet_v1_plans.json").read_text())

PUBLISHED = {
    # Patches in the nnU-Net v2 plans that SAT-DS publishes for about four fifths of the same cases.
    # Its rules differ in details: for msd_colon it has 56 x 192 x 192, nnU-Net v1 56 x 192 x 160.
    "msd_liver": (128, 128, 128),
    "msd_lung": (80, 192, 160),
    "msd_pancreas": (40, 224, 224),
    "msd_hepaticvessel": (64, 192, 192),
    "btcv": (48, 192, 192),
}


@cache
def fingerprint(name: str) -> Fingerprint:
    content = json.loads((REFERENCE / "fingerprints.json").read_text())[name]
    return Fingerprint(dataset=name, **content)


@cache
def planned(name: str, memory_gb: float = 8.0) -> Plan:
    return plan_dataset(fingerprint(name), PlanningSettings(memory_gb=memory_gb))


def as_nnunet(stage: StagePlan, plan: Plan) -> dict:
    topology = stage.topology
    return {
        "current_spacing": list(stage.spacing),
        "original_spacing": [plan.target_spacing.spacing[axis] for axis in plan.axes],
        "batch_size": stage.batch_size,
        "num_pool_per_axis": list(topology.pools),
        "patch_size": list(topology.patch),
        "median_patient_size_in_voxels": list(stage.median_shape),
        "do_dummy_2D_data_aug": stage.dummy_2d,
        "pool_op_kernel_sizes": [list(stride) for stride in topology.strides],
        "conv_kernel_sizes": [list(kernel) for kernel in topology.kernels],
    }


@pytest.mark.parametrize(
    ("memory", "name"), [(memory, name) for memory, plans in THEIRS.items() for name in plans]
)
def test_every_number_is_nnunets(memory, name):
    theirs = THEIRS[memory][name]
    ours = planned(name, float(memory))
    stages = [stage for stage in (ours.lowres, ours.fullres) if stage is not None]
    assert len(stages) == len(theirs["stages"])
    assert list(ours.axes) == theirs["transpose_forward"]
    for mine, its in zip(stages, theirs["stages"], strict=True):
        assert as_nnunet(mine, ours) == its  # spacings to the last bit
    scheme = {"CT": "CT", "nonCT": "z-score"}[theirs["normalization_schemes"]]
    if theirs["use_mask_for_norm"]:
        scheme += " in the nonzero mask"
    assert set(ours.normalisation.values()) == {scheme}
    # run/default_configuration.py: by the number of stages
    assert ours.fullres.batch_dice == (len(stages) > 1)
    assert ours.lowres is None or not ours.lowres.batch_dice


@pytest.mark.parametrize("name", PUBLISHED)
def test_patches_are_the_published_ones(name):
    assert planned(name).fullres.topology.patch == PUBLISHED[name]


def test_every_choice_has_its_reason_in_words():
    plan = planned("msd_hepaticvessel")
    assert plan.target_spacing.spacing[0] == pytest.approx(1.5)
    assert "10th percentile" in plan.target_spacing.reason
    assert "low-resolution stage sees the rest" in plan.reasons["lowres"]
    assert set(plan.fullres.reasons) == {"patch", "pools", "kernels", "batch_size", "dummy_2d"}
    small = planned("hippocampus")
    assert "none is needed" in small.reasons["lowres"]
    assert "at most 5% of all voxels" in small.fullres.reasons["batch_size"]


def test_a_given_spacing_replaces_nnunets_rule():
    name = "msd_hepaticvessel"
    own = planned(name)
    again = plan_dataset(fingerprint(name), PlanningSettings(), own.target_spacing.spacing)
    assert again.fullres.topology == own.fullres.topology
    pool = plan_dataset(fingerprint(name), PlanningSettings(), (1.5, 1.0, 1.0))
    assert pool.fullres.spacing == (1.5, 1.0, 1.0)
    assert "preparation.target_spacing" in pool.target_spacing.reason


def test_a_plan_is_read_back_as_it_was_written():
    plan = planned("msd_liver")
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def thin(shape, spacing):
    return Fingerprint(
        dataset="slices",
        modalities=("MR",),
        channels=1,
        classes=1,
        shapes=(shape,) * 3,
        spacings=(spacing,) * 3,
        size_reduction=1.0,
    )


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((1, 400, 400), (4.0, 1.0, 1.0)),  # a third of a voxel at the pool's spacing
        ((1, 5000, 5000), (1.0, 1.0, 1.0)),  # less than half of one at that of the coarser stage
    ],
)
def test_a_single_slice_stays_one_voxel_at_any_spacing(shape, spacing):
    plan = plan_dataset(thin(shape, (1.0, 1.0, 1.0)), PlanningSettings(), spacing)
    for stage in (plan.fullres, plan.lowres or plan.fullres):
        assert stage.median_shape[plan.axes.index(0)] == 1
        assert stage.topology.patch[plan.axes.index(0)] == 1
        assert stage.batch_size >= 2


@pytest.mark.parametrize("slices", [1, 2, 3])
def test_a_thin_patch_is_never_shortened_to_nothing(slices):
    # the first patch takes all of the plane, which does not fit the memory
    plan = plan_dataset(thin((slices, 6000, 6000), (5.0, 0.05, 0.05)), PlanningSettings())
    for stage in (plan.fullres, plan.lowres or plan.fullres):
        assert 1 <= stage.topology.patch[0] <= slices
        assert min(stage.topology.patch[1:]) > 100
        assert stage.values <= budget_values(8.0)
