"""Whose statistics normalise CT in a training that starts from other weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import with_settings
from tsfm_pipeline.imaging.intensity import CtStatistics, ct_statistics
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.describe import describe
from tsfm_pipeline.training.loop import train
from tsfm_pipeline.training.sampling import PatchDataset
from tsfm_pipeline.training.task import TrainingError, TrainingTask

POOL = CtStatistics(lower=-50, upper=250, mean=70, sd=30)


@pytest.fixture
def initial(
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    tmp_path: Path,
) -> ModelFolder:
    """A trained model whose card says POOL, which no cases of the store have."""
    folder = tmp_path / "initial"
    train(make_task(settings=make_settings(epochs=1)), folder, lambda epoch, metrics: None)
    model = ModelFolder(folder)
    model.write_card(model.card.model_copy(update={"ct_statistics": POOL}))
    return model


def _statistics(task: TrainingTask, folder: Path) -> CtStatistics | None:
    return describe(task, task.records(), ModelFolder(folder), resumed=False).ct_statistics


def test_ct_keeps_the_scale_of_the_initial_weights(
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    initial: ModelFolder,
    folder: Path,
    store: CaseStore,
) -> None:
    settings = make_settings(
        ct_statistics="initial",
        augmentation=AugmentationSettings(transforms="none", mirror_axes=()),
    )
    task = make_task(settings=settings, initial_weights=initial.weights("best"))
    train(task, folder, lambda epoch, metrics: None)
    card = ModelFolder(folder).card
    assert card.ct_statistics == POOL
    # the samples themselves: HU 70 is 0, what lies above 250 HU is (250 - 70) / 30
    samples = PatchDataset(task, "training", task.records(), card.ct_statistics)
    ct = [samples[item]["image"].numpy() for item in range(12) if not _is_mr(samples, item)]
    assert {round(float(image.min()), 4) for image in ct} == {-4}
    assert max(float(image.max()) for image in ct) == pytest.approx(6)
    own = with_settings(task, settings.model_copy(update={"ct_statistics": "own"}))
    keys = [key for key in task.training if not key.startswith("mr/")]
    assert _statistics(own, folder / "own") == ct_statistics(map(store.intensities, keys)) != POOL


def _is_mr(samples: PatchDataset, item: int) -> bool:
    return samples.keys[samples[item]["case"]].startswith("mr/")


def test_from_scratch_there_are_only_its_own(
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    folder: Path,
) -> None:
    wish, own = make_settings(ct_statistics="initial"), make_settings()
    assert _statistics(make_task(settings=wish), folder) == _statistics(
        make_task(settings=own), folder
    )


def test_mr_alone_knows_no_statistics_in_either_way(
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    initial: ModelFolder,
    folder: Path,
) -> None:
    task = make_task(
        settings=make_settings(ct_statistics="initial"),
        initial_weights=initial.weights("best"),
        training=["mr/0"],
        validation=[],
        regions=("spleen",),
    )
    assert _statistics(task, folder) is None


def test_a_resumed_training_keeps_the_scale_it_began_with(
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    initial: ModelFolder,
    folder: Path,
) -> None:
    settings = make_settings(ct_statistics="initial", epochs=1)
    task = make_task(settings=settings, initial_weights=initial.weights("best"))
    train(task, folder, lambda epoch, metrics: None)
    initial.card_path.unlink()
    train(with_settings(task, settings.with_epochs(2)), folder, lambda epoch, metrics: None)
    assert ModelFolder(folder).card.ct_statistics == POOL
    changed = make_settings(ct_statistics="own", epochs=3)
    with pytest.raises(TrainingError, match=r"ct_statistics \(initial there, own asked for\)"):
        train(with_settings(task, changed), folder, lambda epoch, metrics: None)


@pytest.mark.parametrize("case", ["published", "bare", "mr"])
def test_weights_without_statistics_are_refused_with_the_remedy(
    case: str,
    make_task: Callable[..., TrainingTask],
    make_settings: Callable[..., TrainingSettings],
    initial: ModelFolder,
    folder: Path,
) -> None:
    weights = initial.weights("best")
    if case == "published":
        # the card beside it is of other weights
        weights = weights.with_suffix(".model")
        initial.weights("best").rename(weights)
    elif case == "bare":
        initial.card_path.unlink()
    else:
        initial.write_card(initial.card.model_copy(update={"ct_statistics": None}))
    task = make_task(settings=make_settings(ct_statistics="initial"), initial_weights=weights)
    said = {
        "published": "are a published checkpoint, which has no model card",
        "bare": "have no usable model.json beside them",
        "mr": "were trained on MR alone",
    }
    with pytest.raises(TrainingError, match=said[case]) as caught:
        train(task, folder, lambda epoch, metrics: None)
    assert str(weights) in str(caught.value)
    assert "set ct_statistics of this training to own" in str(caught.value)
