import math
import time

import numpy as np
import pytest

from tsfm_pipeline.evaluation.metrics import dice, score_case, score_masks
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable

TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25, "spleen": 1},
    regions={"liver": ("liver", "liver_tumor")},
)


def test_dice_of_hand_made_masks():
    a = np.zeros((4, 4, 4), bool)
    b = a.copy()
    a[0, 0, :3] = True
    b[0, 0, 1:] = True
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, a) == 1.0


def test_dice_follows_nnunets_convention_for_empty_masks():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == 0.0
    assert dice(full, empty) == 0.0


SPACING = (2.0, 1.0, 0.5)


def test_regions_are_scored_as_their_masks_in_the_whole_volume(settings):
    rng = np.random.default_rng(0)
    reference = rng.choice([0, 1, 5, 25, OUTSIDE], (6, 7, 8)).astype(np.uint8)
    prediction = rng.choice([0, 1, 5, 25], (6, 7, 8)).astype(np.uint8)
    reference[:2], prediction[0] = 0, 0
    prediction[:, :, 6:] = 0
    regions = {"liver": (5, 25), "liver_tumor": (25,), "spleen": (1,)}
    rows = score_case(reference, prediction, list(regions), TABLE, SPACING, settings)
    for row, (region, ids) in zip(rows[:3], regions.items(), strict=True):
        a, b = np.isin(reference, ids), np.isin(prediction, ids)
        scored = score_masks(a, b, SPACING, settings, region)
        assert row == {"target": region, "extra": False, **scored}
        assert row["dice"] == 2 * (a & b).sum() / (a.sum() + b.sum())
        assert (row["reference_voxels"], row["prediction_voxels"]) == (a.sum(), b.sum())
        assert row["reference_ml"] == pytest.approx(a.sum() / 1000)  # voxels of 1 mm3
    assert "reference_lesions" in rows[1]
    assert "reference_lesions" not in rows[0]


def test_regions_that_neither_map_has_are_both_empty(settings):
    maps = np.zeros((2, 3, 4, 5), np.uint8)
    maps[1, 0, 0, :2] = 25
    neither, false = score_case(*maps, ["spleen", "liver_tumor"], TABLE, SPACING, settings)
    assert math.isnan(neither["dice"])
    assert math.isnan(neither["nsd"])
    assert (neither["both_empty"], neither["false_positive_on_empty"]) == (True, False)
    assert (false["both_empty"], false["false_positive_on_empty"]) == (False, True)
    assert (false["dice"], false["nsd"]) == (0, 0)
    assert math.isnan(false["hd95"])
    assert (false["reference_lesions"], false["false_positive_lesions"]) == (0, 1)


def test_a_tumour_taken_for_liver_costs_only_the_tumour(settings):
    reference = np.full((2, 2, 2), 5, np.uint8)
    reference[0] = 25
    prediction = np.full((2, 2, 2), 5, np.uint8)
    regions = ["liver", "liver_tumor"]
    liver, tumor, alone = score_case(reference, prediction, regions, TABLE, SPACING, settings)
    assert liver["dice"] == 1.0
    assert tumor["dice"] == 0.0
    assert alone["dice"] == 2 * 4 / (4 + 8)  # unless the liver is its label alone


def test_different_grids_are_refused(settings):
    one, other = np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="different grids"):
        score_case(one, other, ["liver"], TABLE, SPACING, settings)


@pytest.mark.timeout(60)
def test_fifteen_organs_of_a_case_take_seconds(settings):
    """A sixteenth of 512x512x300 voxels; benchmarks/scoring.py measures the whole."""
    table = LabelTable(targets={f"organ{i}": i for i in range(1, 16)})
    reference = np.zeros((75, 256, 256), np.uint8)
    for i in range(15):
        z, y = 2 + 14 * (i % 5), 10 + 80 * (i // 5)
        reference[z : z + 12, y : y + 70, 20:220] = i + 1
    prediction = np.roll(reference, 2, axis=0)
    started = time.perf_counter()
    rows = score_case(reference, prediction, list(table.targets), table, (1, 1, 1), settings)
    assert time.perf_counter() - started < 10
    assert all(row["hd95"] == 2 for row in rows)
