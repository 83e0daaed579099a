"""Against other packages on shared masks: tests/reference/segmentation_metrics.py."""

import json
import math

import numpy as np
import pytest

from tests.reference.mask_pairs import mask_pairs
from tsfm_pipeline.evaluation.metrics import dice
from tsfm_pipeline.evaluation.surface import border, surface_distances

PAIRS = mask_pairs()
BALLS = [name for name in PAIRS if name.startswith("balls")]


@pytest.fixture(scope="module")
def packages(repository):
    return json.loads((repository / "tests/reference/segmentation_metrics.json").read_text())


def number(value):
    return float("nan") if value is None else value


@pytest.mark.parametrize("name", PAIRS)
def test_dice_is_nnunets_and_monais(name, packages):
    reference, prediction, _ = PAIRS[name]
    others = packages["pairs"][name]
    ours = dice(reference, prediction)
    for package in ("dice nnunet v1", "dice nnunet v2"):
        assert ours == pytest.approx(number(others[package]), abs=1e-12, nan_ok=True)
    monai = 1.0 if math.isnan(ours) else ours
    assert monai == pytest.approx(others["dice monai"], abs=1e-6)
    without_empty = ours if reference.any() else float("nan")
    assert without_empty == pytest.approx(
        number(others["dice monai ignore_empty"]), abs=1e-6, nan_ok=True
    )


@pytest.mark.parametrize("name", PAIRS)
def test_surface_metrics_are_monais(name, packages):
    reference, prediction, spacing = PAIRS[name]
    others = packages["pairs"][name]
    distances = surface_distances(reference, prediction, spacing)
    assert distances.nsd(packages["tolerance_mm"]) == pytest.approx(
        number(others["nsd monai"]), abs=1e-6, nan_ok=True
    )
    # MONAI's quantile is computed in float32; the same of medpy's distances is not.
    assert distances.hd95() == pytest.approx(number(others["hd95 monai"]), rel=2e-6, nan_ok=True)
    assert distances.hd95() == pytest.approx(
        number(others["hd95 medpy directed"]), rel=1e-9, nan_ok=True
    )


@pytest.mark.parametrize("name", PAIRS)
def test_the_distances_are_medpys_and_nnunets(name, packages):
    """medpy, and nnU-Net v1 with it, pool both directions; the distances are the same ones."""
    distances = surface_distances(*PAIRS[name])
    one, other = distances.from_reference, distances.from_prediction
    if not one.size or not other.size:
        assert packages["pairs"][name]["hd95 medpy"] is None
        return
    pooled = np.percentile(np.concatenate([one, other]), 95)
    for package in ("hd95 medpy", "hd95 nnunet v1"):
        assert pooled == pytest.approx(packages["pairs"][name][package], rel=1e-9)


@pytest.mark.parametrize("name", [*BALLS, "boxes", "equal"])
def test_how_far_other_definitions_lie_on_smooth_masks(name, packages):
    """The bounds stand in docs/evaluation.md."""
    reference, prediction, spacing = PAIRS[name]
    others = packages["pairs"][name]
    distances = surface_distances(reference, prediction, spacing)
    nsd, hd95 = distances.nsd(packages["tolerance_mm"]), distances.hd95()
    assert nsd == pytest.approx(others["nsd surface-distance"], abs=0.08)
    assert nsd == pytest.approx(others["nsd nnunet v1"], abs=0.02)
    assert hd95 == pytest.approx(others["hd95 surface-distance"], abs=0.4)
    assert hd95 == pytest.approx(others["hd95 medpy"], abs=0.2)


def test_two_voxels_two_mm_apart():
    distances = surface_distances(*PAIRS["voxels two mm apart"])
    assert distances.hd95() == 2.0
    assert distances.nsd(2.0) == 1.0
    assert distances.nsd(1.9) == 0.0


def test_an_empty_mask_has_no_distance():
    _, empty, spacing = PAIRS["nothing predicted"]
    full = PAIRS["nothing predicted"][0]
    for pair in ((full, empty), (empty, full)):
        distances = surface_distances(*pair, spacing)
        assert distances.nsd(1000.0) == 0.0
        assert math.isnan(distances.hd95())
    assert math.isnan(surface_distances(empty, empty, spacing).nsd(2.0))


def test_rounding_does_not_decide_at_the_tolerance():
    """Voxels 4 and 24 of 0.1 mm are a little more than 2 mm apart in floating point."""
    assert 24 * 0.1 - 4 * 0.1 > 2.0
    one, other = np.zeros((1, 1, 60), bool), np.zeros((1, 1, 60), bool)
    one[0, 0, 4], other[0, 0, 24] = True, True
    assert surface_distances(one, other, (1.0, 1.0, 0.1)).nsd(2.0) == 1.0


def test_the_border_of_a_box():
    mask = np.zeros((5, 6, 7), bool)
    mask[:4, 1:5, 1:6] = True
    expected = mask.copy()
    expected[1:3, 2:4, 2:5] = False
    np.testing.assert_array_equal(border(mask), expected)
