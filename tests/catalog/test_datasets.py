import base64
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DatasetError, Version
from matplotlib.figure import Figure
from matplotlib.image import imread

from tsfm_pipeline.catalog import (
    CaseStoreDataset,
    CheckedTableDataset,
    CSVTableDataset,
    DrawingDataset,
    FolderDataset,
    PageDataset,
    RecordDataset,
    RecordFolderDataset,
)
from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.planning.target_spacing import PoolSpacing
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.store.record import CaseRecord


def test_a_folder_is_given_and_checked_never_written(tmp_path) -> None:
    dataset = FolderDataset(filepath=str(tmp_path / "raw"))
    assert dataset.load() == tmp_path / "raw"
    dataset.save(tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    with pytest.raises(DatasetError, match="but the catalogue names"):
        dataset.save(tmp_path / "other")


SCORES = "tsfm_pipeline.evaluation.metrics.SCORES_SCHEMA"
SCORE = dict.fromkeys(SCORES_SCHEMA.names, "x") | {
    "dice": 0.5,
    "nsd": 0.5,
    "hd95": np.nan,
    "reference_voxels": 3,
    "prediction_voxels": 5,
    "reference_ml": 0.3,
    "prediction_ml": 0.5,
    "both_empty": False,
    "false_positive_on_empty": False,
    "extra": False,
    "reference_lesions": 2,
    "detected_lesions": 1,
    "false_positive_lesions": 0,
    "reference_outside_crop": np.nan,
}


def test_absent_scores_are_an_empty_table(tmp_path) -> None:
    dataset = CheckedTableDataset(
        filepath=str(tmp_path / "x.parquet"), schema=SCORES, optional=True
    )
    assert dataset.load().empty
    assert list(dataset.load().columns) == SCORES_SCHEMA.names
    assert dataset.preview()["data"] == []
    dataset.save(pd.DataFrame([SCORE | {"target": "liver"}]))
    assert dataset.load().iloc[0]["dice"] == 0.5
    assert "liver" in dataset.preview()["data"][0]
    with pytest.raises(DatasetError, match="run the node"):
        CheckedTableDataset(filepath=str(tmp_path / "y.parquet"), schema=SCORES).load()


@pytest.mark.parametrize("rows", [[SCORE], [SCORE | {"reference_lesions": np.nan}], []])
def test_scores_that_pandas_wrote_are_loaded(rows, tmp_path) -> None:
    """Earlier versions wrote them so: long texts, whole lesions, no type without a row."""
    frame = pd.DataFrame(rows, columns=SCORES_SCHEMA.names)
    if not rows:
        frame = frame.astype(object)
    frame.to_parquet(tmp_path / "x.parquet", index=False)
    loaded = CheckedTableDataset(filepath=str(tmp_path / "x.parquet"), schema=SCORES).load()
    assert len(loaded) == len(rows)
    assert loaded["reference_lesions"].dtype == np.float64
    assert [row["target"] for row in rows] == list(loaded["target"])


RECORD = "tsfm_pipeline.experiments.outcome.ModelRecord"


def test_an_absent_record_is_as_declared_or_an_error(tmp_path) -> None:
    absent = {"experiment": "pretrain.tsfm", "status": "not run", "reason": "not run yet"}
    path = tmp_path / "models" / "x.json"
    dataset = RecordDataset(filepath=str(path), model=RECORD, absent=absent)
    assert dataset.load() == ModelRecord(**absent)
    with pytest.raises(DatasetError, match=r"x\.json can't be read as .*ModelRecord.*run the node"):
        RecordDataset(filepath=str(path), model=RECORD).load()
    record = ModelRecord(experiment="pretrain.tsfm", status="failed", reason="no memory")
    dataset.save(record)
    assert dataset.load() == record
    assert '"no memory"' in dataset.preview()
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]


def test_a_record_of_another_class_is_neither_saved_nor_loaded(tmp_path) -> None:
    dataset = RecordDataset(filepath=str(tmp_path / "x.json"), model=RECORD)
    with pytest.raises(DatasetError, match="returned a PoolSpacing, but the catalogue names"):
        dataset.save(PoolSpacing(spacing=None, reason="its own"))
    assert not (tmp_path / "x.json").exists()
    (tmp_path / "x.json").write_text('{"experiment": "pretrain.tsfm"}')
    with pytest.raises(DatasetError, match="status"):
        dataset.load()
    with pytest.raises(DatasetError, match=r"no class 'a\.B'.*catalogue entry"):
        RecordDataset(filepath=str(tmp_path / "x.json"), model="a.B").load()


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
        assert entries[name]["schema"] == SCORES
        assert entries[name]["optional"]


def test_pages_are_previewed_as_html(tmp_path) -> None:
    page = PageDataset(filepath=str(tmp_path / "pool.html"))
    page.save("<h1>Pool</h1>")
    assert page.preview() == "<h1>Pool</h1>"
    markdown = PageDataset(filepath=str(tmp_path / "report.md"))
    markdown.save("# Dice <0.5")
    assert markdown.preview() == "<pre># Dice &lt;0.5</pre>"


def test_a_folder_of_records_is_previewed_by_name(tmp_path) -> None:
    record = {
        "type": "tsfm_pipeline.catalog.RecordDataset",
        "model": "tsfm_pipeline.experiments.outcome.ModelRecord",
    }
    folder = RecordFolderDataset(path=str(tmp_path), filename_suffix=".json", dataset=record)
    folder.save({"b": ModelRecord(experiment="b", status="finished", epochs=3)})
    assert json.loads(folder.preview())["b"]["epochs"] == 3


def test_a_folder_is_previewed_by_what_it_is_and_holds(tmp_path) -> None:
    metadata = {"kedro-viz": {"description": "Raw data."}}
    folder = FolderDataset(filepath=str(tmp_path / "raw"), metadata=metadata)
    assert json.loads(folder.preview()) == {"what": "Raw data.", "entries": 0, "first": []}
    (tmp_path / "raw" / "Task03_Liver").mkdir(parents=True)
    assert json.loads(folder.preview())["first"] == ["Task03_Liver"]


@pytest.mark.parametrize("on_page", [True, False])
def test_a_drawing_is_one_entry_of_three_files(tmp_path, on_page) -> None:
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, "liver & tumour")
    data = pd.DataFrame(
        {
            "dataset": ["07", "07"],
            "case": ["001", "NA"],
            "target": ["x", "null"],
            "dice": [0.5, np.nan],
        }
    )
    time = "2026-01-01T00.00.00.000Z"
    dataset = DrawingDataset(
        filepath=str(tmp_path / "few.png"), pixels_per_inch=50, version=Version(None, time)
    )
    assert not dataset.exists()
    dataset.save(Drawing(figure, data, on_page))
    assert dataset.exists()
    files = {path.name for path in (tmp_path / "few.png" / time).iterdir()}
    assert files == {"few.png", "few.svg", "few.csv"}
    loaded = dataset.load()
    pd.testing.assert_frame_equal(loaded.data, data)
    assert ("liver &amp; tumour" in loaded.svg) == on_page
    png = tmp_path / "few.png" / time / "few.png"
    assert imread(png).shape[:2] == (50, 100)
    assert base64.b64decode(dataset.preview()) == png.read_bytes()


def test_a_csv_has_no_formulas_and_loads_as_it_was_saved(tmp_path) -> None:
    table = pd.DataFrame({"case": ["=1+1", "001"], "dice": [-0.5, 0.5]})
    path = tmp_path / "scores.csv"
    dataset = CSVTableDataset(filepath=str(path), load_args={"dtype": {"case": str}})
    dataset.save(table)
    assert path.read_text() == "case,dice\n'=1+1,-0.5\n001,0.5\n"
    pd.testing.assert_frame_equal(dataset.load(), table)
    assert dataset.preview()["data"][0][0] == "=1+1"


def test_every_csv_of_the_catalogue_is_such(repository) -> None:
    entries = [
        entry
        for file in (repository / "conf" / "base").glob("catalog_*.yml")
        for entry in yaml.safe_load(file.read_text()).values()
        if entry.get("filepath", "").endswith(".csv")
    ]
    assert {entry["type"] for entry in entries} == {"tsfm_pipeline.catalog.CSVTableDataset"}
