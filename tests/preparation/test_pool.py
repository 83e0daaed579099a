"""One bad case never takes the others with it, and says what is wrong with it."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.copies import exact_copies
from tsfm_pipeline.preparation.pool import PoolError, prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

TABLE = LabelTable(targets={"liver": 5, "liver_tumor": 25})
SETTINGS = PreparationSettings(target_spacing=(2.0, 2.0, 2.0))
SOURCE = MsdSource(
    layout="msd", folder="Task03_Liver", labels={1: "liver", 2: "liver_tumor"}
).named("msd_liver")


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Six cases of which one is sound."""
    task = tmp_path / "raw" / "Task03_Liver"
    image = np.random.default_rng(0).normal(50, 20, (12, 14, 16)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[3:9, 4:10, 5:11] = 1
    label[5:7, 5:7, 6:8] = 2
    for number in range(6):
        write(task / "imagesTr" / f"liver_{number}.nii.gz", image + number)
        write(task / "labelsTr" / f"liver_{number}.nii.gz", label)
    truncated = task / "imagesTr" / "liver_1.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:-300])
    write(task / "labelsTr" / "liver_2.nii.gz", label[:-1])
    write(task / "labelsTr" / "liver_3.nii.gz", np.where(label == 2, 7, label).astype(np.uint8))
    (task / "labelsTr" / "liver_4.nii.gz").unlink()
    (task / "imagesTr" / "liver_5.nii.gz").write_bytes(b"not an image")
    pairs = [
        {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"}
        for n in range(6)
    ]
    text = json.dumps({"modality": {"0": "CT"}, "training": pairs})
    (task / "dataset.json").write_text(text)
    return tmp_path / "raw"


def prepare(raw: Path, store: CaseStore) -> pd.DataFrame:
    index = build_case_index({"msd_liver": SOURCE}, ["msd_liver"], raw)
    sources = {"msd_liver": SOURCE}
    screened = screen_cases(
        index, sources, TABLE, raw.parent / "screening", WorkerSettings(jobs=1), verify=False
    )
    catalogue = prepare_pool(
        index, screened, sources, TABLE, SETTINGS, WorkerSettings(jobs=1), store
    )
    return catalogue.set_index("case")


def test_bad_cases_are_listed_with_file_value_and_the_rest_goes_on(raw, tmp_path, caplog) -> None:
    store = CaseStore(tmp_path / "store")
    with caplog.at_level(logging.WARNING):
        catalogue = prepare(raw, store)
    verdicts, causes = catalogue["verdict"], catalogue["cause"]
    assert (verdicts["liver_0"], pd.isna(causes["liver_0"])) == ("ok", True)
    assert store.keys() == ["msd_liver/liver_0"]
    expected = {
        "liver_1": ["imagesTr/liver_1.nii.gz"],
        "liver_2": ["labelsTr/liver_2.nii.gz", "(11, 14, 16)", "(12, 14, 16)"],
        "liver_3": ["labelsTr/liver_3.nii.gz", "value(s) 7 are not"],
        "liver_4": ["labelsTr/liver_4.nii.gz"],
        "liver_5": ["imagesTr/liver_5.nii.gz"],
    }
    for case, parts in expected.items():
        assert verdicts[case] == "quarantined"
        assert all(part in causes[case] for part in parts), causes[case]
        assert caplog.text.count(f"msd_liver/{case}") == (case != "liver_5")  # alike to liver_1


def test_copies_inside_a_dataset_are_named_once(raw, tmp_path, caplog) -> None:
    task = raw / "Task03_Liver"
    shutil.copy(task / "labelsTr" / "liver_0.nii.gz", task / "labelsTr" / "liver_4.nii.gz")
    for number in (2, 3):
        shutil.copy(task / "labelsTr" / "liver_0.nii.gz", task / f"labelsTr/liver_{number}.nii.gz")
    shutil.copy(task / "imagesTr" / "liver_0.nii.gz", task / "imagesTr" / "liver_2.nii.gz")
    another = np.random.default_rng(1).normal(50, 20, (12, 14, 16)).astype(np.int16)
    write(task / "imagesTr" / "liver_3.nii.gz", another)
    write(task / "imagesTr" / "liver_4.nii.gz", another.astype(np.float32))

    def warnings() -> list[str]:
        caplog.clear()
        prepare(raw, CaseStore(tmp_path / "store"))
        said = [record.getMessage() for record in caplog.records]
        return [text for text in said if "one scan under several names" in text]

    (said,) = warnings()
    assert said.startswith("msd_liver: ")
    assert "liver_0 = liver_2, liver_3 = liver_4; leave" in said
    assert "datasets.msd_liver.left_out" in said
    assert warnings() == [said]  # also where nothing had to be prepared
    (task / "imagesTr" / "liver_2.nii.gz").unlink()
    (task / "imagesTr" / "liver_4.nii.gz").unlink()
    assert warnings() == []


def test_cases_stored_before_voxels_were_digested_are_compared_by_their_files() -> None:
    cases = {"case": ["a", "b", "c"], "dataset": "d", "verdict": "ok", "voxel_digest": ""}
    catalogue = pd.DataFrame(cases).assign(key=lambda table: "d/" + table["case"])
    integrity = pd.DataFrame({"key": ["d/a", "d/b", "d/c"], "image_digest": ["1", "2", "1"]})
    assert exact_copies(catalogue, integrity) == {"d": [["a", "c"]]}
    catalogue["verdict"] = ["ok", "ok", "quarantined"]
    assert exact_copies(catalogue, integrity) == {}


def test_a_dataset_without_a_usable_case_stops(raw, tmp_path) -> None:
    (raw / "Task03_Liver" / "imagesTr" / "liver_0.nii.gz").write_bytes(b"")
    with pytest.raises(PoolError, match="no usable case in msd_liver"):
        prepare(raw, CaseStore(tmp_path / "store"))
