"""How many samples per second loader processes give; part of run.py."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation, Triple
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord
from tsfm_pipeline.training.sampling import PatchDataset, make_loader
from tsfm_pipeline.training.task import TrainingTask

CASES = 4
TABLE = LabelTable(targets={"liver": 5})


def samples_per_second(
    shape: Triple, patch: Triple, batch: int, workers: int, where: str, dry: bool
) -> dict[str, Any]:
    """Fill a store with noisy CTs of a shape and draw training batches from it."""
    with tempfile.TemporaryDirectory() as folder:
        store = CaseStore(Path(folder))
        records = {f"noise/{number}": _write(store, number, shape) for number in range(CASES)}
        settings = TrainingSettings(
            size="tiny",
            patch=patch,
            batch_size=batch,
            augmentation=AugmentationSettings.model_validate({"where": where}),
            workers=workers,
            device="cpu",
        )
        task = TrainingTask(
            name="loader",
            settings=settings,
            store=store.root,
            training=tuple(records),
            validation=(),
            table=TABLE,
            regions=("liver",),
        )
        statistics = CtStatistics(lower=-900, upper=300, mean=60, sd=170)
        dataset = PatchDataset(task, "training", records, statistics)
        batches = iter(make_loader(dataset, 0, 10**6, settings))
        for _ in range(workers):  # every process has started
            next(batches)
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < (1 if dry else 15):
            next(batches)
            count += 1
        seconds = time.perf_counter() - started
        del batches
    return {"samples per s": round(count * batch / seconds, 2), "workers": workers}


def _write(store: CaseStore, number: int, shape: Triple) -> CaseRecord:
    rng = np.random.default_rng(number)
    image = rng.normal(0, 60, (1, *shape)).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    middle = tuple(slice(size // 3, size // 2) for size in shape)
    labels[middle] = 5
    geometry = Geometry(shape, (1.5, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    record = CaseRecord(
        dataset="noise",
        case=str(number),
        patient=str(number),
        modality="CT",
        channels=1,
        geometry=geometry,
        file_geometry=geometry,
        reorientation=Reorientation((0, 1, 2), (False, False, False)),
        crop_lower=(0, 0, 0),
        crop_shape=shape,
        uncropped_shape=shape,
        uncropped_spacing=(1.5, 1, 1),
        target_voxels={5: int((labels == 5).sum())},
        annotated=("liver",),
        raw_digest=str(number),
        preparation_digest="none",
        image_identity="none",
    )
    foreground = {5: np.argwhere(labels == 5)[::50].astype(np.int32)}
    store.write(record, image, labels, foreground, image[:, labels == 5].T[::100])
    return record
