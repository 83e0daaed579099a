import pytest

from tsfm_pipeline.planning.fingerprint import Fingerprint, PlanningError
from tsfm_pipeline.store.record import CaseRecord


def record(crop_shape, spacing, annotated, modality="CT"):
    """Make the part of a record that a fingerprint reads."""
    return CaseRecord.model_construct(
        modality=modality,
        channels=2,
        crop_shape=crop_shape,
        uncropped_shape=(40, 50, 60),
        uncropped_spacing=spacing,
        annotated=annotated,
    )


def test_it_speaks_of_the_cases_before_resampling():
    records = [
        record((40, 50, 60), (1.0, 2.0, 3.0), ("liver", "spleen")),
        record((20, 50, 60), (5.0, 4.0, 3.0), ("liver",), "MR"),
        record((10, 50, 60), (2.0, 2.0, 2.0), ("liver", "bladder")),
    ]
    found = Fingerprint.from_records("amos22", records)
    assert found.cases == 3
    assert found.median_shape == (20, 50, 60)
    assert found.median_spacing == (2.0, 2.0, 3.0)
    assert found.modalities == ("CT", "MR")
    assert (found.channels, found.classes) == (2, 3)
    assert found.size_reduction == 0.5


def test_a_dataset_without_cases_has_none():
    with pytest.raises(PlanningError, match="amos22 has no prepared case"):
        Fingerprint.from_records("amos22", [])
