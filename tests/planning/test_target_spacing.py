import pandas as pd
import pytest

from tsfm_pipeline.planning.fingerprint import PlanningError
from tsfm_pipeline.planning.target_spacing import (
    choose_target_spacing,
    median_spacing,
    pool_spacing,
)
from tsfm_pipeline.preparation.settings import PreparationSettings

FLAT = (20, 300, 280)
SLICES = [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0, 6.0, 7.0, 8.0, 9.0]


def spacings(in_plane: float) -> list:
    return [(z, in_plane, in_plane / 2) for z in SLICES]


def test_isotropic_cases_take_the_median_of_each_axis():
    chosen = choose_target_spacing([(1.0, 2.0, 0.5), (3.0, 1.0, 0.6), (2.0, 9.0, 0.7)], [FLAT] * 3)
    assert chosen.spacing == (2.0, 2.0, 0.6)
    assert "percentile" not in chosen.reason


def test_flat_anisotropic_cases_take_the_tenth_percentile():
    assert choose_target_spacing(spacings(1.0), [FLAT] * 11).spacing == (2.0, 1.0, 0.5)


def test_the_tenth_percentile_never_falls_under_the_next_axis():
    assert choose_target_spacing(spacings(1.6), [FLAT] * 11).spacing[0] == 2.0
    fine = [(0.9, 1.6, 1.0), (0.9, 1.6, 1.0), *spacings(1.6)[4:]]
    assert choose_target_spacing(fine, [FLAT] * 9).spacing[0] == pytest.approx(1.6 + 1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("in_plane", "shape"),
    [
        (5 / 3, FLAT),  # exactly 3 times coarser is not more
        (1.0, (100, 300, 300)),  # exactly a third of the voxels is not less
        (1.0, (20, 300, 60)),  # nor is it less than a third of the SMALLEST other axis
    ],
)
def test_only_both_together_make_it_anisotropic(in_plane, shape):
    assert choose_target_spacing(spacings(in_plane), [shape] * 11).spacing[0] == 5.0


def test_a_pools_spacing_comes_from_its_usable_rows():
    rows = pd.DataFrame(
        {
            "verdict": ["ok", "repaired", "quarantined"],
            "spacing": [[1.0, 1.0, 1.0], [3.0, 2.0, 2.0], None],
            "cropped_shape": [[50, 60, 70], [40, 60, 70], None],
        }
    )
    assert median_spacing(rows).spacing == (2.0, 1.5, 1.5)
    with pytest.raises(PlanningError, match="no case is usable"):
        median_spacing(rows[2:])


def test_the_parameter_is_a_spacing_the_median_or_nothing():
    rows = pd.DataFrame(
        {
            "dataset": ["a", "a", "downstream"],
            "verdict": "ok",
            "spacing": [[1.0, 1.0, 1.0], [3.0, 2.0, 2.0], [9.0, 9.0, 9.0]],
            "cropped_shape": [[50, 60, 70], [40, 60, 70], [40, 60, 70]],
        }
    )
    assert pool_spacing("median", rows, ["a"]).spacing == (2.0, 1.5, 1.5)
    assert pool_spacing((1.5, 1.0, 1.0), rows, ["a"]).spacing == (1.5, 1.0, 1.0)
    assert pool_spacing(None, rows, ["a"]).spacing is None


def test_a_case_is_resampled_to_the_pools_spacing_or_keeps_its_own():
    own = (5.0, 0.8, 0.8)
    fixed = PreparationSettings(target_spacing=(1.5, 1.0, 1.0))
    assert fixed.spacing_for(own) == (1.5, 1.0, 1.0)
    assert PreparationSettings(target_spacing=None).spacing_for(own) == own
    with pytest.raises(ValueError, match="median"):
        PreparationSettings(target_spacing="median").spacing_for(own)
    with pytest.raises(ValueError, match="not above 0"):
        PreparationSettings(target_spacing=(1.0, 0.0, 1.0))
