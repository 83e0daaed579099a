"""What counts as the end of a training whose settings were changed."""

import pytest

from tsfm_pipeline.model.summary import TrainingSummary
from tsfm_pipeline.model.training_settings import TrainingSettings


@pytest.mark.parametrize(
    ("epochs", "patience", "ended"),
    [
        (100, 5, True),  # as it was asked for
        (100, 3, True),
        (100, 6, False),
        (100, None, False),
        (200, 5, True),
        (200, 6, False),
        (20, 6, True),
        (20, None, True),
        (19, 5, False),
    ],
)
def test_an_early_end_lasts_as_long_as_patience_has_run_out(epochs, patience, ended) -> None:
    summary = TrainingSummary(
        name="x",
        epochs=20,
        parameters=1,
        seconds=1.0,
        dice=0.5,
        best_dice=0.6,
        best_epoch=14,
        skipped_steps=0,
        ended_early=True,
    )
    assert summary.is_end_of(TrainingSettings(epochs=epochs, patience=patience)) is ended


def test_without_validation_patience_ends_nothing() -> None:
    figures = {"dice": None, "best_dice": None, "best_epoch": None, "skipped_steps": 0}
    summary = TrainingSummary(name="x", epochs=20, parameters=1, seconds=1.0, **figures)
    assert summary.is_end_of(TrainingSettings(epochs=20, patience=5))
    assert not summary.is_end_of(TrainingSettings(epochs=21, patience=5))
