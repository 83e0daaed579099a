"""A mirrored raw case of every layout that has sides is found, and no other is doubted."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.preparation.audit import audit_labels, target_places
from tsfm_pipeline.preparation.pool import prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import AuditSettings, PreparationSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

BASE = Path(__file__).parents[2] / "conf" / "base"
LABELS = yaml.safe_load((BASE / "parameters_labels.yml").read_text())
TABLE = LabelTable.model_validate(LABELS["labels"])
AUDIT = AuditSettings.model_validate(LABELS["audit"])
DATASETS = Datasets.model_validate(
    yaml.safe_load((BASE / "parameters_datasets.yml").read_text())["datasets"]
).root
# Of AMOS a CT and an MR; the others have CT alone.
CASES = {"amos22": 3, "btcv": 2, "totalsegmentator": 2, "abdomenct1k": 2, "kits21": 2}
MIRRORED = ("amos22/amos_0001", "amos22/amos_0507", "btcv/img0001", "totalsegmentator/s0011",
            "abdomenct1k/FLARE22_Tr_0001")  # fmt: skip
WORKERS = WorkerSettings(jobs=1)


def mirror(path: Path) -> None:
    """Turn a file's voxels round from left to right, and leave its header, as nibabel has them."""
    image = nibabel.load(path)
    axis = nibabel.aff2axcodes(image.affine).index(
        next(code for code in nibabel.aff2axcodes(image.affine) if code in "LR")
    )
    turned = np.flip(np.asarray(image.dataobj), axis)
    nibabel.save(nibabel.Nifti1Image(turned, image.affine, image.header), path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, CaseStore]:
    root = tmp_path_factory.mktemp("audit")
    generate_phantoms(PhantomSettings(cases=CASES, spacing_scale=1.3, seed=5), root / "raw")
    index = build_case_index(DATASETS, list(CASES), root / "raw")
    for case in (case_from_row(row) for _, row in index.iterrows()):
        if case.key in MIRRORED:
            for path in (*case.images, *(label.path for label in case.labels)):
                mirror(path)
    screened = screen_cases(index, DATASETS, TABLE, root / "screening", WORKERS, verify=False)
    assert set(screened["verdict"]) == {"ok"}  # nothing else tells
    store = CaseStore(root / "store")
    settings = PreparationSettings(target_spacing=(5.0, 5.0, 5.0))
    return prepare_pool(index, screened, DATASETS, TABLE, settings, WORKERS, store), store


def audited(prepared, **settings) -> pd.DataFrame:
    chosen = AUDIT.model_copy(update=settings)
    return audit_labels(*prepared, TABLE, chosen).set_index("key", drop=False)


def test_mirrored_cases_of_every_layout_are_quarantined_and_no_others(prepared) -> None:
    assert set(MIRRORED) < set(prepared[0]["key"])
    table = audited(prepared)
    found = table[table["verdict"] == "quarantined"]
    assert set(found["key"]) == set(MIRRORED)
    assert found["cause"].str.contains("left and right are exchanged: .*_left lies right of").all()
    assert found["cause"].str.contains("the header is wrong about the scan").all()
    assert found["cause"].str.contains(r"audit\.reviewed").all()
    assert set(table.loc[table["doubts"].notna(), "key"]) == set(MIRRORED)


def test_a_setting_keeps_them_and_a_reviewed_case_is_not_doubted(prepared) -> None:
    table = audited(prepared, exclude_mirrored=False)
    assert set(table["verdict"]) == {"ok"}
    assert set(table.loc[table["doubts"].notna(), "key"]) == set(MIRRORED)
    assert table["cause"].isna().all()
    sound = MIRRORED[0]
    table = audited(prepared, reviewed=(sound,))
    assert (table.at[sound, "verdict"], table.at[sound, "doubts"]) == ("ok", None)
    assert set(table.loc[table["doubts"].notna(), "key"]) == set(MIRRORED[1:])


def test_a_reviewed_case_that_does_not_exist_is_named(prepared, caplog) -> None:
    audited(prepared, reviewed=("btcv/9",))
    assert "audit.reviewed names no case of the pool: btcv/9" in caplog.text


def test_per_dataset_targets_are_audited_by_their_plain_names(prepared, tmp_path) -> None:
    table = LabelTable.model_validate(LABELS["labels"] | {"reading": "per_dataset"})
    catalogue, store = prepared
    key = "btcv/img0001"
    places = target_places(key, store, TABLE)

    class Renamed:
        """The store as this reading would have filled it."""

        def record(self, key: str):
            record = store.record(key)
            voxels = {new[value]: count for value, count in record.target_voxels.items()}
            return record.model_copy(update={"target_voxels": voxels})

        def foreground(self, key: str):
            return {new[value]: voxels for value, voxels in store.foreground(key).items()}

    names = {value: name for name, value in TABLE.targets.items()}
    new = {value: table.targets.get(f"btcv/{name}", 0) for value, name in names.items()}
    assert target_places(key, Renamed(), table) == places
    only = catalogue[catalogue["key"] == key]
    assert audit_labels(only, Renamed(), table, AUDIT)["verdict"].iat[0] == "quarantined"


def test_centres_and_volumes_are_those_of_the_stored_map(prepared) -> None:
    store = prepared[1]
    key = "totalsegmentator/s0000"
    labels, record = store.read_labels(key), store.record(key)
    places = target_places(key, store, TABLE)
    for name, place in places.items():
        where = np.argwhere(labels == TABLE.id_of(name))
        np.testing.assert_allclose(place.centre, where.mean(axis=0) * record.geometry.spacing)
        assert place.ml == pytest.approx(len(where) * np.prod(record.geometry.spacing) / 1000)
        edge = (where == 0).any() or (where == np.array(labels.shape) - 1).any()
        assert place.at_edge == edge
    assert len(places) > 10


def test_a_real_patient_is_sound_until_mirrored(realdata, tmp_path) -> None:
    source = DATASETS["totalsegmentator"]
    case = next((realdata / "totalsegmentator_example").glob("s*"))
    copy = tmp_path / source.folder / "s0000"
    shutil.copytree(case, copy)
    sources = {"totalsegmentator": source}

    def doubts(run: str) -> pd.Series:
        index = build_case_index(sources, list(sources), tmp_path)
        screened = screen_cases(index, sources, TABLE, tmp_path / run, WORKERS, verify=False)
        store, settings = CaseStore(tmp_path / run), PreparationSettings(target_spacing=(3, 3, 3))
        catalogue = prepare_pool(index, screened, sources, TABLE, settings, WORKERS, store)
        return audit_labels(catalogue, store, TABLE, AUDIT).iloc[0]

    sound = doubts("first")
    assert (sound["verdict"], sound["doubts"]) == ("ok", None)
    for path in (copy / "ct.nii.gz", *(copy / "segmentations").glob("*.nii.gz")):
        mirror(path)
    turned = doubts("second")
    assert turned["verdict"] == "quarantined"
    assert turned["doubts"].endswith(
        "organs without a side are, too: the header is wrong about the scan"
    )
