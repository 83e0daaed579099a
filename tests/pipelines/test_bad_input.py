"""One raw folder with every kind of bad input, through `kedro run --pipelines data_pool`."""

import gzip
import json
import re
import struct
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from tests.pipelines.conftest import kedro

SETTINGS = {
    "globals.yml": "workspace: bad\nraw_root: {raw_root}\n",
    "parameters_datasets.yml": "pool:\n  datasets: [msd_liver]\n  downstream: [brats2020]\n",
    "parameters_data_pool.yml": "preparation:\n  target_spacing: [2.0, 2.0, 2.0]\n",
}
AFFINE = np.diag((-1.0, -1.0, 2.0, 1.0))
SHEARED, SKEW, MOVED = AFFINE.copy(), AFFINE.copy(), AFFINE.copy()
SHEARED[0, 1], SKEW[0, 1], MOVED[0, 3] = 0.3, 2e-3, 4.0
CHANNELS = ("t1", "t1ce", "t2", "flair")

QUARANTINED = {
    "truncated": ["imagesTr/truncated.nii.gz", "truncated", "again"],
    "bit_flip": ["imagesTr/bit_flip.nii.gz", "damaged", "again"],
    "wrong_magic": ["imagesTr/wrong_magic.nii.gz", "not a NIfTI file", "again"],
    "empty_axis": ["imagesTr/empty_axis.nii", "(16, 0, 12)", "empty axis", "again"],
    "too_large": ["imagesTr/too_large.nii.gz", "claims", "again"],
    "colour": ["imagesTr/colour.nii.gz", "3 values per voxel", "one file per channel"],
    "sheared": ["imagesTr/sheared.nii.gz", "16.7 degrees", "resample"],
    "no_spacing": ["imagesTr/no_spacing.nii", "spacing", "correct the header"],
    "zero_image": ["imagesTr/zero_image.nii.gz", "every voxel is 0", "leave the case out"],
    "label_shape": ["labelsTr/label_shape.nii.gz", "(11, 14, 16)", "(12, 14, 16)", "export"],
    "label_damaged": ["labelsTr/label_damaged.nii.gz", "truncated", "again"],
    "label_unknown": ["labelsTr/label_unknown.nii.gz", "value(s) 7 ", "map each"],
    "label_float": ["labelsTr/label_float.nii.gz", "0.5 is not a whole number"],
    "label_negative": ["labelsTr/label_negative.nii.gz", "value(s) -1 ", "map each"],
    "label_nan": ["labelsTr/label_nan.nii.gz", "nan is not a whole number"],
    "label_missing": ["labelsTr/label_missing.nii.gz", "not found"],
    "folder": ["imagesTr/folder.nii.gz", "not found"],
    "twins": ["two cases are named msd_liver/twins", "Rename one"],
    "passwd": ["../../outside/passwd.nii.gz", "outside the dataset's folder"],
    "BraTS20_Training_002": ["BraTS20_Training_002_flair.nii.gz", "not found"],
}
REPAIRED = {
    "nan_image": "2 NaN or infinite voxels set to 0",
    "skew": "made right-angled",
    "label_moved": "its header differs from its image: origin",
}
SOUND = ("good", "label_empty", "BraTS20_Training_001", "BraTS20_Training_003")


def save(path: Path, array_xyz: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array_xyz, affine)
    if not np.array_equal(affine, AFFINE):
        image.set_qform(None, code=0)
    nibabel.save(image, path)
    return path


def change(path: Path, offset: int, form: str, *values: object) -> None:
    """Overwrite numbers of a header, with a right checksum again."""
    packed = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(gzip.compress(content) if packed else content)


def make_raw(raw: Path) -> None:
    random = np.random.default_rng(0)
    image = random.normal(50, 20, (16, 14, 12)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    label[5:11, 4:10, 3:9] = 1
    label[6:8, 5:7, 5:7] = 2
    task = raw / "Task03_Liver"
    names = [name for name in (*QUARANTINED, *REPAIRED, *SOUND) if "BraTS" not in name]
    pairs = []
    for name in names:
        suffix = ".nii" if name in ("empty_axis", "no_spacing") else ".nii.gz"
        images, labels = f"imagesTr/{name}{suffix}", f"labelsTr/{name}.nii.gz"
        if name == "passwd":
            images = "../../outside/passwd.nii.gz"
        save(task / images, image)
        save(task / labels, label)
        pairs.append({"image": images, "label": labels})
    pairs.append({"image": "imagesTr/twins.nii.gz", "label": "labelsTr/good.nii.gz"})
    header = {"modality": {"0": "CT"}, "training": pairs}
    (task / "dataset.json").write_text(json.dumps(header))

    spoil_images(task / "imagesTr", image)
    spoil_labels(task / "labelsTr", label)
    save(task / "labelsTr" / "skew.nii.gz", label, SKEW)

    for case in (*(name for name in SOUND if "BraTS" in name), "BraTS20_Training_002"):
        folder = raw / "MICCAI_BraTS2020_TrainingData" / case
        for channel in CHANNELS:
            save(folder / f"{case}_{channel}.nii.gz", image)
        save(folder / f"{case}_seg.nii.gz", label)
    (folder / "BraTS20_Training_002_flair.nii.gz").unlink()


def spoil_images(images: Path, image: np.ndarray) -> None:
    content = (images / "truncated.nii.gz").read_bytes()
    (images / "truncated.nii.gz").write_bytes(content[:-900])
    (images / "bit_flip.nii.gz").write_bytes(content[:-500] + b"\x00" + content[-499:])
    change(images / "wrong_magic.nii.gz", 344, "4s", b"nope")
    change(images / "empty_axis.nii", 40, "<4h", 3, 16, 0, 12)
    change(images / "too_large.nii.gz", 40, "<4h", 3, 30000, 30000, 30000)
    change(images / "colour.nii.gz", 40, "<6h", 5, 16, 14, 12, 1, 3)
    save(images / "sheared.nii.gz", image, SHEARED)
    save(images / "skew.nii.gz", image, SKEW)
    change(images / "no_spacing.nii", 76, "<4f", 1, 0, 0, 0)
    change(images / "no_spacing.nii", 252, "<2h", 1, 0)
    save(images / "zero_image.nii.gz", image * 0)
    broken = image.astype(np.float32)
    broken[0, 0, 0], broken[1, 1, 1] = np.nan, np.inf
    save(images / "nan_image.nii.gz", broken)
    (images / "folder.nii.gz").unlink()
    (images / "folder.nii.gz").mkdir()


def spoil_labels(labels: Path, label: np.ndarray) -> None:
    save(labels / "label_shape.nii.gz", label[:, :, 1:])
    content = (labels / "label_damaged.nii.gz").read_bytes()
    (labels / "label_damaged.nii.gz").write_bytes(content[:-20])
    save(labels / "label_unknown.nii.gz", np.where(label == 2, 7, label).astype(np.uint8))
    save(labels / "label_float.nii.gz", label * np.float32(0.5))
    save(labels / "label_negative.nii.gz", -label.astype(np.int16) * (label == 1))
    save(labels / "label_nan.nii.gz", np.where(label == 2, np.nan, label).astype(np.float32))
    (labels / "label_missing.nii.gz").unlink()
    save(labels / "label_empty.nii.gz", label * np.uint8(0))
    save(labels / "label_moved.nii.gz", label, MOVED)


@pytest.fixture(scope="module")
def screened(make_project) -> tuple[Path, str]:
    """A project with such a raw folder after screening, and what the run said."""
    project = make_project()
    raw = project / "downloads" / "raw"
    make_raw(raw)
    for name, text in SETTINGS.items():
        file = project / "conf" / "bad" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.format(raw_root=raw))
    done = kedro(
        project, "run", "--env", "bad", "--pipelines", "data_pool", "--tags", "screen", status=1
    )
    return project, done.stdout + done.stderr


def table(project: Path, layer: str, name: str) -> pd.DataFrame:
    return pd.read_parquet(project / "data" / layer / "bad" / f"{name}.parquet").set_index("case")


def test_screening_alone_says_what_is_wrong_and_ends_with_status_1(screened) -> None:
    project, said = screened
    assert not (project / "data" / "03_primary").exists()
    assert "msd_liver: 2 ok, 3 repaired, 19 quarantined (1 with no labelled voxel)" in said
    assert "brats2020: 2 ok, 0 repaired, 1 quarantined" in said
    assert "Screened 27 cases: 20 quarantined" in said
    assert "Exit status 1: 20 of 27 cases are quarantined" in said
    assert "Traceback" not in said
    told = re.findall(r"Quarantined \S+/(\w+)(?: and (\d+) more)?: ", said)
    assert sum(1 + int(more or 0) for _, more in told) == 20
    assert {case for case, _ in told} <= set(QUARANTINED)


@pytest.mark.parametrize("case", QUARANTINED)
def test_a_bad_case_has_a_cause_with_file_value_and_remedy(screened, case) -> None:
    row = table(screened[0], "02_intermediate", "integrity").loc[case]
    assert row["verdict"] == "quarantined"
    for part in QUARANTINED[case]:
        assert part in row["cause"]
    assert "Traceback" not in row["cause"]


@pytest.mark.parametrize("case", REPAIRED)
def test_a_repaired_case_says_what_was_done(screened, case) -> None:
    row = table(screened[0], "02_intermediate", "integrity").loc[case]
    assert row["verdict"] == "repaired"
    assert REPAIRED[case] in row["cause"]
    assert list(row["labels_present"]) == ["1", "2"]


def test_the_pool_holds_the_sound_and_the_repaired_cases(screened, run_kedro) -> None:
    project, _ = screened
    run_kedro(project, "data_pool", env="bad")
    catalogue = table(project, "03_primary", "pool_catalogue")
    verdicts = catalogue["verdict"]
    integrity = table(project, "02_intermediate", "integrity")
    assert set(verdicts.index[verdicts == "ok"]) == {*REPAIRED, *SOUND}
    for case in QUARANTINED:
        assert verdicts[case] == "quarantined"
        assert integrity.loc[case, "cause"] in catalogue["cause"][case]
    stored = {path.name for path in (project / "data/03_primary/bad/cases").glob("*/*")}
    assert stored == {*REPAIRED, *SOUND}
