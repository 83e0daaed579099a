"""Files, headers and label values against what the publishers' downloads look like."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.phantom.conftest import Phantoms, read
from tsfm_pipeline.phantom.layouts import PLANNERS

PART1 = (
    "spleen kidney_right kidney_left gallbladder liver stomach aorta inferior_vena_cava"
    " portal_vein_and_splenic_vein pancreas adrenal_gland_right adrenal_gland_left"
    " lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right"
    " lung_lower_lobe_right"
).split()


def msd_files(stems: list[str], test: str) -> list[str]:
    files = [f"{folder}/{stem}.nii.gz" for stem in stems for folder in ("imagesTr", "labelsTr")]
    files.append(f"imagesTs/{test}.nii.gz")
    twins = [f"{file.rpartition('/')[0]}/._{file.rpartition('/')[2]}" for file in files]
    return [*files, *twins, "dataset.json"]


def kits21_files(case: str) -> list[str]:
    names = ["imaging", *(f"aggregated_{way}_seg" for way in ("MAJ", "OR", "AND"))]
    names += [
        "segmentations/kidney_instance-1_annotation-1",
        "segmentations/kidney_instance-2_annotation-1",
        "segmentations/tumor_instance-1_annotation-1",
    ]
    return [f"data/{case}/{name}.nii.gz" for name in names]


FILES = {
    "Task03_Liver": msd_files(["liver_0", "liver_7"], "liver_131"),
    "Task06_Lung": msd_files(["lung_001", "lung_002"], "lung_003"),
    "Task07_Pancreas": msd_files(["pancreas_001", "pancreas_002"], "pancreas_003"),
    "Task08_HepaticVessel": msd_files(
        ["hepaticvessel_001", "hepaticvessel_002"], "hepaticvessel_003"
    ),
    "Task10_Colon": msd_files(["colon_001", "colon_002"], "colon_003"),
    "breast": [
        f"{case}/{name}{ending}"
        for case, ending in (("1", ".nii.gz"), ("2", ".nii"))
        for name in ("P0", "P1", "P2", "P3", "P4", "P5", "GT", "Breast_mask")
    ],
    "kits21": [*kits21_files("case_00000"), *kits21_files("case_00150"), "data/clinical_data.json"],
    "kits19": [
        *(
            f"data/{case}/{name}.nii.gz"
            for case in ("case_00000", "case_00105")
            for name in ("imaging", "segmentation")
        ),
        "data/case_00210/imaging.nii.gz",
        "data/kits.json",
    ],
    "amos22": [
        *(f"{part}Tr/amos_{n}.nii.gz" for part in ("images", "labels") for n in ("0001", "0201")),
        *(f"{part}Tr/amos_0507.nii.gz" for part in ("images", "labels")),
        *(f"{part}Va/amos_{n}.nii.gz" for part in ("images", "labels") for n in ("0008", "0544")),
        "imagesTs/amos_0004.nii.gz",
        "dataset.json",
    ],
    "RawData": [
        "Training/img/img0001.nii.gz",
        "Training/img/img0026.nii.gz",
        "Training/label/label0001.nii.gz",
        "Training/label/label0026.nii.gz",
        "Testing/img/img0061.nii.gz",
    ],
    "Totalsegmentator_dataset": [
        "meta.csv",
        *(f"{case}/ct.nii.gz" for case in ("s0000", "s0011")),
        *(
            f"{case}/segmentations/{name}.nii.gz"
            for case in ("s0000", "s0011")
            for name in (
                *PART1,
                "esophagus",
                "trachea",
                "small_bowel",
                "duodenum",
                "colon",
                "urinary_bladder",
            )
        ),
    ],
    "MICCAI_BraTS2020_TrainingData": [
        "survival_info.csv",
        *(
            f"BraTS20_Training_00{n}/BraTS20_Training_00{n}_{name}.nii.gz"
            for n in (1, 2)
            for name in ("flair", "t1", "t1ce", "t2", "seg")
        ),
    ],
    "FLARE22_LabeledCase50": [
        *(f"images/FLARE22_Tr_000{n}_0000.nii.gz" for n in (1, 2)),
        *(f"labels/FLARE22_Tr_000{n}.nii.gz" for n in (1, 2)),
    ],
}

# folder -> a label glob, the values allowed, values that some case must show
LABELS = {
    "Task03_Liver": ("labelsTr/l*.nii.gz", {0, 1, 2}),
    "Task06_Lung": ("labelsTr/l*.nii.gz", {0, 1}),
    "Task07_Pancreas": ("labelsTr/p*.nii.gz", {0, 1, 2}),
    "Task08_HepaticVessel": ("labelsTr/h*.nii.gz", {0, 1, 2}),
    "Task10_Colon": ("labelsTr/c*.nii.gz", {0, 1}),
    "breast": ("*/GT.nii*", {0, 1}),
    "kits21": ("data/*/aggregated_*_seg.nii.gz", {0, 1, 2, 3}),
    "kits19": ("data/*/segmentation.nii.gz", {0, 1, 2}),
    "amos22": ("labels*/*.nii.gz", set(range(16))),
    "RawData": ("Training/label/*.nii.gz", set(range(14))),
    "Totalsegmentator_dataset": ("*/segmentations/*.nii.gz", {0, 1}),
    "MICCAI_BraTS2020_TrainingData": ("*/*_seg.nii.gz", {0, 1, 2, 4}),
    "FLARE22_LabeledCase50": ("labels/*.nii.gz", set(range(14))),
}


def volumes(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*.nii*") if not p.name.startswith("._"))


def test_every_folder_holds_exactly_the_published_files(phantoms: Phantoms) -> None:
    assert {path.name for path in phantoms.root.iterdir() if path.is_dir()} == set(FILES)
    for folder, expected in FILES.items():
        base = phantoms.root / folder
        found = {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}
        assert found == set(expected), folder


@pytest.mark.parametrize("folder", list(LABELS))
def test_label_values(phantoms: Phantoms, folder: str) -> None:
    pattern, allowed = LABELS[folder]
    seen: set[int] = set()
    for path in (phantoms.root / folder).glob(pattern):
        seen |= set(np.unique(read(path)).tolist())
    assert seen == allowed


def test_label_grid_equals_image_grid(phantoms: Phantoms) -> None:
    for folder, pattern in (
        ("kits19", "data/case_00105/*.nii.gz"),
        ("amos22", "*/amos_0507.nii.gz"),
        ("Totalsegmentator_dataset", "s0011/**/*.nii.gz"),
        ("breast", "2/*.nii"),
    ):
        files = [nib.load(path) for path in (phantoms.root / folder).glob(pattern)]
        assert len(files) > 1
        for file in files[1:]:
            assert file.shape == files[0].shape
            np.testing.assert_allclose(file.affine, files[0].affine, atol=1e-4)


def test_data_types(phantoms: Phantoms) -> None:
    uint16 = [
        path
        for path in volumes(phantoms.root / "kits19")
        if nib.load(path).get_data_dtype() == np.uint16
    ]
    assert [path.relative_to(phantoms.root / "kits19").as_posix() for path in uint16] == [
        "data/case_00105/segmentation.nii.gz"
    ]
    for path in volumes(phantoms.root):
        is_label = any(
            part in path.as_posix().lower()
            for part in ("label/", "labels", "seg", "/gt", "breast_mask")
        ) and not path.name.startswith(("ct.", "FLARE22_Tr_0001_0000", "FLARE22_Tr_0002_0000"))
        kind = nib.load(path).get_data_dtype().kind
        if is_label:
            assert kind in "iu", path
        else:
            assert kind in "if", path


def test_kits_is_slice_first_with_origin_zero(phantoms: Phantoms) -> None:
    for path in [*volumes(phantoms.root / "kits21"), *volumes(phantoms.root / "kits19")]:
        image = nib.load(path)
        assert nib.aff2axcodes(image.affine) == ("I", "P", "L")
        slices, rows, columns = image.header.get_zooms()
        expected = [[0, 0, -columns, 0], [0, -rows, 0, 0], [-slices, 0, 0, 0], [0, 0, 0, 1]]
        np.testing.assert_allclose(image.affine, expected, atol=1e-5)


def test_axis_codes_vary_between_and_within_datasets(phantoms: Phantoms) -> None:
    codes = {
        folder: {
            "".join(nib.aff2axcodes(nib.load(path).affine))
            for path in volumes(phantoms.root / folder)
        }
        for folder in FILES
    }
    assert codes["Task03_Liver"] == {"RAS"}
    assert codes["RawData"] == {"LAS"}
    assert codes["MICCAI_BraTS2020_TrainingData"] == {"LPS"}
    assert len(codes["amos22"]) > 1


def test_msd_header_and_twins(phantoms: Phantoms) -> None:
    folder = phantoms.root / "Task08_HepaticVessel"
    header = json.loads((folder / "dataset.json").read_text())
    assert "licence" in header
    assert "license" not in header
    assert header["labels"] == {"0": "background", "1": "Vessel", "2": "Tumour"}
    assert header["modality"] == {"0": "CT"}
    assert (header["numTraining"], header["numTest"]) == (2, 1)
    for pair in header["training"]:
        assert (folder / pair["image"]).is_file()
        assert (folder / pair["label"]).is_file()
    for twin in folder.rglob("._*"):
        assert twin.read_bytes()[:4] == b"\x00\x05\x16\x07"


def test_amos_header_and_mr(phantoms: Phantoms) -> None:
    folder = phantoms.root / "amos22"
    header = json.loads((folder / "dataset.json").read_text())
    assert header["labels"]["8"] == "arota"
    assert "licence" in header
    assert read(folder / "imagesTr/amos_0507.nii.gz").min() >= 0
    for name in ("labelsTr/amos_0507", "labelsVa/amos_0544"):
        assert not np.isin(read(folder / f"{name}.nii.gz"), [14, 15]).any()
    assert np.isin([14, 15], read(folder / "labelsTr/amos_0001.nii.gz")).all()


def test_amos_numbers_stay_within_the_release() -> None:
    numbers = [int(case.case[5:]) for case in PLANNERS["amos22"](240).cases]
    assert sum(number <= 410 for number in numbers) == 200 + 2
    assert all(number <= 410 or 507 <= number <= 600 for number in numbers)
    with pytest.raises(ValueError, match=r"phantom\.cases\.amos22"):
        PLANNERS["amos22"](241)


def test_totalsegmentator_table(phantoms: Phantoms) -> None:
    folder = phantoms.root / "Totalsegmentator_dataset"
    with (folder / "meta.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["image_id"] for row in rows] == ["s0000", "s0011"]
    assert list(rows[0]) == ["image_id", "age", "gender", "institute", "study_type", "split"]
    # The second scan shows chest and upper abdomen: what lies outside has an empty file.
    assert not read(folder / "s0011/segmentations/urinary_bladder.nii.gz").any()
    assert read(folder / "s0000/segmentations/urinary_bladder.nii.gz").any()


def test_brats_is_stripped_and_case_355_misnamed(phantoms: Phantoms) -> None:
    folder = phantoms.root / "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001"
    channels = [
        read(folder / f"BraTS20_Training_001_{name}.nii.gz") for name in ("flair", "t1ce", "t2")
    ]
    labels = read(folder / "BraTS20_Training_001_seg.nii.gz")
    brain = np.any(channels, axis=0)
    assert 0.1 < brain.mean() < 0.6
    assert brain[0].sum() == brain[-1].sum() == 0
    assert brain[labels > 0].mean() > 0.98
    paths = PLANNERS["brats2020"](369).paths
    assert sum("W39_1998.09.19_Segm" in path for path in paths) == 1
    assert any("BraTS20_Training_355/W39_1998.09.19_Segm" in path for path in paths)


def test_breast_tumour_enhances(phantoms: Phantoms) -> None:
    folder = phantoms.root / "breast/1"
    tumour = read(folder / "GT.nii.gz") > 0
    before, first, last = (read(folder / f"P{p}.nii.gz")[tumour].mean() for p in (0, 1, 5))
    assert first > 1.5 * before
    assert last < first
    assert read(folder / "Breast_mask.nii.gz")[tumour].mean() > 0.6


def test_shared_kits_number_is_one_patient(phantoms: Phantoms) -> None:
    old = phantoms.root / "kits19/data/case_00000"
    new = phantoms.root / "kits21/data/case_00000"
    assert np.array_equal(read(old / "imaging.nii.gz"), read(new / "imaging.nii.gz"))
    labels_19, labels_21 = (
        read(old / "segmentation.nii.gz"),
        read(new / "aggregated_MAJ_seg.nii.gz"),
    )
    assert np.array_equal(labels_19 == 2, labels_21 == 2)
    assert np.array_equal(labels_19 == 1, np.isin(labels_21, [1, 3]))
    larger = read(new / "aggregated_OR_seg.nii.gz") > 0
    smaller = read(new / "aggregated_AND_seg.nii.gz") > 0
    assert smaller.sum() < (labels_21 > 0).sum() < larger.sum()


def test_ids_stay_distinct_at_the_published_counts() -> None:
    published = {"kits21": 300, "kits19": 210, "btcv": 30, "msd_colon": 126, "amos22": 240}
    for dataset, count in published.items():
        cases = [case.case for case in PLANNERS[dataset](count).cases]
        assert len(set(cases)) == len(cases), dataset
