"""A store of a few small cases, and the smallest training on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation, Triple
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training.task import TrainingTask

TABLE = LabelTable(
    targets={
        "spleen": 1,
        "kidney_right": 2,
        "kidney_left": 3,
        "liver": 5,
        "lung_upper_lobe_left": 13,
        "lung_upper_lobe_right": 15,
        "lung_middle_lobe_right": 16,
        "liver_tumor": 25,
    },
    regions={"liver": ("liver", "liver_tumor")},
)


def write_case(
    store: CaseStore,
    key: str,
    annotated: tuple[str, ...],
    *,
    shape: Triple = (28, 24, 40),
    modality: str = "CT",
    channels: int = 1,
) -> CaseRecord:
    """Write a case of one bright cuboid per annotated target on a noisy background."""
    dataset, case = key.split("/")
    rng = np.random.default_rng(sum(map(ord, key)))
    labels = np.zeros(shape, np.uint8)
    image = rng.normal(0, 0.3, (channels, *shape)).astype(np.float32)
    for place, name in enumerate(annotated):
        lower = rng.integers(2, np.array(shape) - 12)
        box = tuple(slice(low, low + 9) for low in lower)
        labels[box] = TABLE.targets[name]
        image[(slice(None), *box)] += 2 + place
    if modality == "CT":
        image *= 100
    else:
        labels[0][labels[0] == 0] = OUTSIDE
        image[:, labels == OUTSIDE] = 0
    geometry = Geometry(shape, (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    present = [int(i) for i in np.unique(labels) if 0 < i < OUTSIDE]
    record = CaseRecord(
        dataset=dataset,
        case=case,
        patient=case,
        modality=modality,
        channels=channels,
        geometry=geometry,
        file_geometry=geometry,
        reorientation=Reorientation((0, 1, 2), (False, False, False)),
        crop_lower=(0, 0, 0),
        crop_shape=shape,
        uncropped_shape=shape,
        uncropped_spacing=(1, 1, 1),
        target_voxels={i: int((labels == i).sum()) for i in present},
        annotated=annotated,
        raw_digest=f"raw {key}",
        preparation_digest="preparation",
        image_identity="image",
    )
    foreground = {i: np.argwhere(labels == i).astype(np.int32) for i in present}
    store.write(record, image, labels, foreground, image[:, labels > 0].T)
    return record


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    store = CaseStore(tmp_path_factory.mktemp("store"))
    for number in range(4):
        write_case(store, f"organs/{number}", ("spleen", "kidney_right", "kidney_left", "liver"))
    write_case(store, "tumours/0", ("liver", "liver_tumor"))
    write_case(store, "tumours/1", ("liver", "liver_tumor"))
    write_case(store, "mr/0", ("spleen",), modality="MR")
    return store


def with_settings(task: TrainingTask, settings: TrainingSettings) -> TrainingTask:
    """Return the same task, trained in another way; it keeps the store it has opened."""
    return task.model_copy(update={"settings": settings})


def with_cases(task: TrainingTask, cases: CaseStore) -> TrainingTask:
    """Let a task read a store that is more than its path says."""
    copy = task.model_copy(update={"store": cases.root})
    vars(copy)["cases"] = cases
    return copy


@pytest.fixture
def make_task(
    store: CaseStore, make_settings: Callable[..., TrainingSettings]
) -> Callable[..., TrainingTask]:
    def make(**changes: Any) -> TrainingTask:
        given: dict[str, Any] = {
            "name": "test",
            "settings": make_settings(),
            "store": store.root,
            "training": ["organs/0", "organs/1", "organs/2", "tumours/0", "mr/0"],
            "validation": ["organs/3", "tumours/1"],
            "table": TABLE,
            "regions": ("spleen", "kidney_right", "kidney_left", "liver", "liver_tumor"),
        }
        cases = changes.pop("cases", None)
        task = TrainingTask(**(given | changes))
        return task if cases is None else with_cases(task, cases)

    return make


@pytest.fixture
def make_settings() -> Callable[..., TrainingSettings]:
    def make(**changes: Any) -> TrainingSettings:
        given: dict[str, Any] = {
            "size": "tiny",
            "patch": (16, 16, 32),
            "iterations_per_epoch": 3,
            "validation_iterations": 2,
            "epochs": 2,
            "learning_rate": 0.01,
            "augmentation": AugmentationSettings(transforms="light"),
            "workers": 0,
            "device": "cpu",
        }
        return TrainingSettings(**(given | changes))

    return make


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"
