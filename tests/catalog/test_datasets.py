import base64

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DatasetError

from tsfm_pipeline.catalog import (
    CaseStoreDataset,
    FolderDataset,
    ModelRecordDataset,
    OptionalTableDataset,
)
from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA
from tsfm_pipeline.experiments.outcome import ModelRecord
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
        filepath=str(tmp_path / "x.parquet"), columns=SCORES_SCHEMA.names
    )
    assert dataset.load().empty
    assert list(dataset.load().columns) == SCORES_SCHEMA.names
    row = {"experiment": "pretrain.tsfm", "target": "liver", "dice": 0.5}
    dataset.save(pd.DataFrame([row], columns=SCORES_SCHEMA.names))
    assert dataset.load().iloc[0]["dice"] == 0.5
    assert "liver" in dataset.preview()["data"][0]


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


def test_the_catalogue_keeps_every_score(repository) -> None:
    entries = yaml.safe_load((repository / "conf/base/catalog_experiments.yml").read_text())
    for name in ("{pipeline}.{experiment}_scores", "{pipeline}_scores"):
        assert entries[name]["columns"] == SCORES_SCHEMA.names
