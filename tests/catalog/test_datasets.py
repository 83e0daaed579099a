import base64

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from tsfm_pipeline.catalog import (
    CaseStoreDataset,
    FolderDataset,
    ModelRecordDataset,
    OptionalTableDataset,
)
from tsfm_pipeline.evaluation.metrics import SCORE_COLUMNS
from tsfm_pipeline.experiments.record import ModelRecord
from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord


def test_a_folder_is_given_and_checked_never_written(tmp_path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "raw"))
    assert dataset.load() == tmp_path / "raw"
    dataset.save(tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    with pytest.raises(DatasetError, match="but the catalogue names"):
        dataset.save(tmp_path / "other")


def test_absent_scores_are_an_empty_table(tmp_path) -> None:
    dataset = OptionalTableDataset(
        filepath=str(tmp_path / "x.parquet"), columns=list(SCORE_COLUMNS)
    )
    assert dataset.load().empty
    assert list(dataset.load().columns) == list(SCORE_COLUMNS)
    row = ("pretrain.tsfm", "best", "btcv", "img0001", "liver", 0.5, 10, 12)
    dataset.save(pd.DataFrame([row], columns=list(SCORE_COLUMNS)))
    assert dataset.load().iloc[0]["dice"] == 0.5
    assert dataset.preview()["data"][0][4] == "liver"


def test_an_absent_record_says_not_run(tmp_path) -> None:
    name = "transfer_kits19_scratch_epoch10"
    dataset = ModelRecordDataset(filepath=str(tmp_path / "x.json"), experiment=name)
    assert dataset.load().status == "not run"
    assert dataset.load().experiment == "transfer.kits19.scratch.epoch10"
    record = ModelRecord(experiment="pretrain.tsfm", status="failed", reason="no memory")
    dataset.save(record)
    assert dataset.load() == record


def test_the_store_previews_a_slice(tmp_path) -> None:
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[2:4, 2:5, 3:7] = 5
    grid = Geometry((6, 8, 10), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    record = CaseRecord(
        dataset="btcv",
        case="img0001",
        patient="p",
        modality="CT",
        channels=1,
        geometry=grid,
        file_geometry=grid,
        reorientation=Reorientation((0, 1, 2), (False, False, False)),
        crop_lower=(0, 0, 0),
        crop_shape=grid.shape,
        uncropped_shape=grid.shape,
        uncropped_spacing=grid.spacing,
        target_voxels={5: 24},
        annotated=("liver",),
        raw_digest="r",
        preparation_digest="p",
        image_identity="i",
    )
    store = CaseStore(tmp_path)
    image = labels[None].astype(np.float32)
    store.write(record, image, labels, {5: np.argwhere(labels).astype(np.int32)}, image[:, 0, 0].T)
    dataset = CaseStoreDataset(filepath=str(tmp_path))
    assert dataset.load().keys() == ["btcv/img0001"]
    assert base64.b64decode(dataset.preview())[:4] == b"\x89PNG"
