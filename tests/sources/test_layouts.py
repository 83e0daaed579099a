"""Every layout as a hand-made directory tree; listing reads names, so the files hold no volume."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from tsfm_pipeline.sources import AnySource, Source, SourceCase, SourceError

ADAPTER: TypeAdapter[Source] = TypeAdapter(AnySource)


def plant(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def source(layout: str, **settings) -> Source:
    return ADAPTER.validate_python(
        {"layout": layout, "folder": "data", "labels": {1: "liver"}} | settings
    )


def listing(root: Path, **settings) -> dict[str, SourceCase]:
    cases = source(**settings).named("mine").find_cases(root.parent)
    assert [case.case for case in cases] == sorted(case.case for case in cases)
    assert all(case.dataset == "mine" for case in cases)
    return {case.case: case for case in cases}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def header(root: Path, modality: str = "CT", **keys) -> None:
    text = json.dumps({"name": "x", "modality": {"0": modality}, "licence": "y"} | keys)
    (root / "dataset.json").write_text(text)


# Medical Segmentation Decathlon


def test_msd_takes_the_training_list_and_names_what_is_missing(root: Path) -> None:
    plant(root, "imagesTr/liver_0.nii.gz", "imagesTr/._liver_0.nii.gz", "labelsTr/liver_0.nii.gz")
    plant(root, "labelsTr/._liver_0.nii.gz", "imagesTs/liver_9.nii.gz", ".DS_Store")
    plant(root, "imagesTr/liver_1.nii.gz", "labelsTr/liver_2.nii.gz", "imagesTr/liver_3.nii")
    plant(root, "labelsTr/liver_3.nii")
    names = [f"liver_{number}.nii.gz" for number in (0, 1, 2, 3, 4)]
    training: list[dict[str, str]] = [
        {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
    ]
    del training[4]["label"]
    header(root, training=training)
    cases = listing(root, layout="msd")

    assert list(cases) == ["liver_0", "liver_1", "liver_2", "liver_3", "liver_4"]
    good = cases["liver_0"]
    assert good.images == (root / "imagesTr/liver_0.nii.gz",)
    assert [label.path for label in good.labels] == [root / "labelsTr/liver_0.nii.gz"]
    assert (good.problem, good.modality, good.patient) == ("", "CT", "mine/liver_0")
    assert good.labels[0].class_name is None
    assert str(root / "labelsTr/liver_1.nii.gz") in cases["liver_1"].problem
    assert "imagesTr" not in cases["liver_1"].problem
    assert str(root / "imagesTr/liver_2.nii.gz") in cases["liver_2"].problem
    assert cases["liver_3"].images == (root / "imagesTr/liver_3.nii",)  # listed as .nii.gz
    assert not cases["liver_3"].problem
    assert "labelsTr" in cases["liver_4"].problem


def test_msd_files_beside_the_training_list_are_told(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a_0", "a_1", "a_2", "._a_0"):
        plant(root, f"imagesTr/{name}.nii.gz", f"labelsTr/{name}.nii.gz")
    pairs = [
        {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("a_0",)
    ]
    header(root, training=pairs)
    assert list(listing(root, layout="msd")) == ["a_0"]
    assert "2 volumes of" in caplog.text and "a_1 first" in caplog.text
    caplog.clear()
    header(root)
    assert list(listing(root, layout="msd")) == ["a_0", "a_1", "a_2"]
    assert not caplog.text


def test_msd_without_training_list_reads_the_folders(root: Path) -> None:
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/._a.nii.gz", "imagesTr/b.nii")
    plant(root, "labelsTr/c.nii.gz", "imagesTr/notes.txt")
    header(root, modality="MRI")
    cases = listing(root, layout="msd")
    assert {name: bool(case.problem) for name, case in cases.items()} == {
        "a": False,
        "b": True,
        "c": True,
    }
    assert cases["a"].modality == "MR"


def test_msd_label_may_have_another_name(root: Path) -> None:
    plant(root, "imagesTr/a.nii.gz", "labels/seg_a.nii.gz")
    header(root, training=[{"image": "imagesTr/a.nii.gz", "label": "labels/seg_a.nii.gz"}])
    assert listing(root, layout="msd")["a"].labels[0].path == root / "labels/seg_a.nii.gz"


@pytest.mark.parametrize(
    "path", ["../../x/a.nii.gz", "imagesTr/../../a.nii.gz", "/etc/a.nii.gz", "./../a.nii.gz"]
)
@pytest.mark.parametrize("role", ["image", "label"])
def test_msd_paths_out_of_the_folder_are_refused(root: Path, path: str, role: str) -> None:
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b.nii.gz", "labelsTr/b.nii.gz")
    plant(root.parent, "a.nii.gz", "x/a.nii.gz")
    bad = {"image": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"} | {role: path}
    good = {"image": "imagesTr/b.nii.gz", "label": "labelsTr/x/../b.nii.gz"}
    header(root, training=[bad, good])
    cases = listing(root, layout="msd")
    assert path in cases["a"].problem
    assert "outside the dataset's folder" in cases["a"].problem
    assert not cases["b"].problem


def test_msd_cases_of_several_channels_say_what_to_do(root: Path) -> None:
    """Task01 and Task05 keep their channels in 4-D files."""
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"modality": {"0": "T2", "1": "ADC"}}))
    problem = listing(root, layout="msd", modality="MR")["a"].problem
    assert "2 channels" in problem
    assert "layout: nnunet" in problem


def test_labels_are_compared_with_dataset_json(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    header(root, labels={"0": "background", "1": "liver", "2": "cancer", "note": "x"})
    with pytest.raises(SourceError, match=r"\{2: 'cancer'\}.*datasets\.mine\.labels.*null"):
        listing(root, layout="msd")
    listing(root, layout="msd", labels={1: "liver", 2: None})
    assert not caplog.records
    listing(root, layout="msd", labels={1: "liver", 2: None, 3: "spleen"})
    assert "maps [3], which dataset.json" in caplog.text


@pytest.mark.parametrize("text", ["{", '{"training": 3}', '{"modality": ["CT"]}', None])
def test_msd_useless_header_is_named(root: Path, text: str | None) -> None:
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    if text is not None:
        (root / "dataset.json").write_text(text)
    with pytest.raises(SourceError, match=r"datasets\.mine: .*dataset\.json"):
        listing(root, layout="msd")


@pytest.mark.parametrize("modality", [{"0": "FLAIR"}, {"0": "CT", "1": "MRI"}, {}])
def test_msd_modality_must_be_clear_or_set(root: Path, modality: dict[str, str]) -> None:
    plant(root, "imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"modality": modality}))
    with pytest.raises(SourceError, match=r"datasets\.mine\.modality"):
        listing(root, layout="msd")
    assert listing(root, layout="msd", modality="MR")["a"].modality == "MR"


# KiTS


def test_kits_passes_over_unlabelled_cases_only(root: Path) -> None:
    for number in (0, 209, 210, 211):
        plant(root, f"data/case_{number:05d}/imaging.nii.gz")
    for number in (0, 1, 211):
        plant(root, f"data/case_{number:05d}/segmentation.nii.gz")
    plant(root, "data/kits.json", "data/case_00000/._imaging.nii.gz")
    cases = listing(root, layout="kits", label_file="segmentation", first_unlabelled=210)
    assert list(cases) == ["case_00000", "case_00001", "case_00209", "case_00211"]
    assert cases["case_00000"].patient == "kits_00000"
    assert cases["case_00000"].problem == cases["case_00211"].problem == ""
    assert "imaging.nii.gz" in cases["case_00001"].problem
    assert "get_imaging" in cases["case_00001"].problem
    assert "segmentation.nii.gz" in cases["case_00209"].problem


@pytest.mark.parametrize("data", ["kits21/data", "kits21/kits21/data"])  # unpacked, git clone
def test_kits21_takes_the_chosen_aggregation(tmp_path: Path, data: str) -> None:
    folder = tmp_path / data / "case_00007"
    plant(folder, "imaging.nii.gz", "aggregated_MAJ_seg.nii.gz", "aggregated_OR_seg.nii.gz")
    plant(folder, "raw/imaging.nii.gz", "segmentations/kidney_instance-1_annotation-1.nii.gz")
    kits21 = source("kits", folder="kits21", label_file="aggregated_MAJ_seg")
    (case,) = kits21.named("kits21").find_cases(tmp_path)
    assert (case.case, case.problem) == ("case_00007", "")
    assert case.images == (folder / "imaging.nii.gz",)
    assert case.labels[0].path == folder / "aggregated_MAJ_seg.nii.gz"


def test_kits21_images_may_lie_in_a_folder_beside_the_clones_labels(tmp_path: Path) -> None:
    clone = tmp_path / "kits21"
    for case in ("case_00000", "case_00001"):
        plant(clone, f"kits21/data/{case}/aggregated_MAJ_seg.nii.gz")
    plant(clone, "data/case_00000/imaging.nii.gz")
    kits21 = source("kits", folder="kits21", label_file="aggregated_MAJ_seg")
    complete, lacking = kits21.named("kits21").find_cases(tmp_path)
    assert complete.problem == ""
    assert complete.images == (clone / "data/case_00000/imaging.nii.gz",)
    assert complete.labels[0].path == clone / "kits21/data/case_00000/aggregated_MAJ_seg.nii.gz"
    assert "kits21/data/case_00001/imaging.nii.gz" in lacking.problem
    assert "get_imaging" in lacking.problem


def test_a_case_is_one_patient_in_both_kits(root: Path) -> None:
    plant(root, "data/case_00003/imaging.nii.gz", "data/case_00003/segmentation.nii.gz")
    patients = {
        source("kits", label_file="segmentation").named(name).find_cases(root.parent)[0].patient
        for name in ("kits19", "kits21")
    }
    assert patients == {"kits_00003"}


# AMOS22


def test_amos_modality_follows_the_number(root: Path) -> None:
    for name in ("amos_0001", "amos_0410", "amos_0507", "amos_0600"):
        plant(root, f"imagesTr/{name}.nii.gz", f"labelsTr/{name}.nii.gz")
    plant(root, "imagesVa/amos_0409.nii.gz", "labelsVa/amos_0409.nii.gz")
    plant(root, "imagesTs/amos_0300.nii.gz", "imagesTr/._amos_0001.nii.gz")
    header(root, training=[], labels={"0": "background", "1": "spleen"})
    plant(root, "imagesTr/amos_0002.nii.gz")
    cases = listing(root, layout="amos22")
    assert {name: case.modality for name, case in cases.items()} == {
        "amos_0001": "CT",
        "amos_0002": "CT",
        "amos_0410": "CT",
        "amos_0507": "MR",
        "amos_0600": "MR",
    }
    assert [name for name, case in cases.items() if case.problem] == ["amos_0002"]
    both = listing(root, layout="amos22", splits=["Tr", "Va"])
    assert set(both) - set(cases) == {"amos_0409"}


# BTCV


def test_btcv_pairs_by_number(root: Path) -> None:
    plant(root, "Training/img/img0001.nii.gz", "Training/label/label0001.nii.gz")
    plant(root, "Training/img/img0021.nii.gz", "Training/label/label0022.nii.gz")
    plant(root, "Testing/img/img0061.nii.gz", "Training/img/._img0001.nii.gz")
    plant(root, "Test/img/img0062.nii.gz", "Training/img/_img0001.nii.gz")
    cases = listing(root, layout="btcv")
    assert list(cases) == ["img0001", "img0021", "img0022"]
    assert cases["img0001"].labels[0].path == root / "Training/label/label0001.nii.gz"
    assert not cases["img0001"].problem
    assert "label0021.nii.gz" in cases["img0021"].problem
    assert "img0022.nii.gz" in cases["img0022"].problem


# TotalSegmentator


def test_totalsegmentator_takes_mapped_classes_by_name(root: Path) -> None:
    masks = ("spleen", "liver", "heart", "aorta")
    plant(root, "s0000/ct.nii.gz", *(f"s0000/segmentations/{name}.nii.gz" for name in masks))
    plant(root, "s0000/segmentations/._liver.nii.gz", "meta.csv")
    plant(root, "s0001/ct.nii.gz", "s0001/segmentations/heart.nii.gz")
    plant(root, "s0002/segmentations/liver.nii.gz", "__MACOSX/s0002/ct.nii.gz")
    labels = {"liver": "liver", "kidney_left": "kidney_left", "spleen": "spleen", "aorta": None}
    plant(root, "s0003/ct.nii.gz", "s0003/segmentations/kidney_left.nii.gz")
    cases = listing(root, layout="totalsegmentator", labels=labels)
    assert list(cases) == ["s0000", "s0001", "s0002", "s0003"]
    assert [(label.class_name, label.path.name) for label in cases["s0000"].labels] == [
        ("liver", "liver.nii.gz"),
        ("spleen", "spleen.nii.gz"),
    ]
    assert not cases["s0000"].problem  # kidney_left is absent from the scan
    assert str(root / "s0001/segmentations") in cases["s0001"].problem
    assert "ct.nii.gz" in cases["s0002"].problem


def test_cases_that_lack_the_file_of_a_class_are_told(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, masks in enumerate((["liver", "spleen"], ["spleen"], ["liver", "spleen"])):
        names = [f"s000{number}/segmentations/{name}.nii.gz" for name in masks]
        plant(root, f"s000{number}/ct.nii.gz", *names)
    labels = {"liver": "liver", "spleen": "spleen", "aorta": None}
    assert not any(
        case.problem for case in listing(root, layout="totalsegmentator", labels=labels).values()
    )
    assert "1 of 3 cases lack the file of some class" in caplog.text
    assert "s0001 lacks liver" in caplog.text
    caplog.clear()
    plant(root, "s0001/segmentations/liver.nii.gz")
    listing(root, layout="totalsegmentator", labels=labels)
    assert not caplog.text


def test_totalsegmentator_class_of_another_release_is_refused(root: Path) -> None:
    plant(root, "s0000/ct.nii.gz", "s0000/segmentations/liver.nii.gz")
    labels = {"liver": "liver", "prostate": "prostate", "trachea": None}
    with pytest.raises(SourceError, match=r"class\(es\) prostate\. Is this another release"):
        listing(root, layout="totalsegmentator", labels=labels)
    del labels["prostate"]
    assert not listing(root, layout="totalsegmentator", labels=labels)["s0000"].problem


def test_totalsegmentator_splits_come_from_meta_csv(root: Path) -> None:
    for number in range(3):
        plant(root, f"s000{number}/ct.nii.gz", f"s000{number}/segmentations/liver.nii.gz")
    settings = {"layout": "totalsegmentator", "labels": {"liver": "liver"}}
    with pytest.raises(SourceError, match=r"mine\.splits: .*meta\.csv"):
        listing(root, **settings, splits=["train"])
    text = "\ufeffimage_id;age;split\ns0000;60;train\ns0001;61;test\ns0002;;val\n"
    (root / "meta.csv").write_text(text, encoding="utf-8")
    assert list(listing(root, **settings, splits=["train", "val"])) == ["s0000", "s0002"]
    assert len(listing(root, **settings)) == 3
    (root / "meta.csv").write_text(text.replace(";", ","), encoding="utf-8")
    with pytest.raises(SourceError, match="lacks the columns"):
        listing(root, **settings, splits=["train"])


# Breast


def test_breast_reprocessed_copy_has_a_folder_per_phase(root: Path) -> None:
    for number in (1, 2):
        plant(root, f"image_p1/Yunnan_{number}_P1.nii.gz", f"image_p0/Yunnan_{number}_P0.nii.gz")
    plant(root, "label/Yunnan_1_GT.nii.gz", "label/Yunnan_3_GT.nii.gz", "image_p1/notes_P1.nii.gz")
    plant(root, "breastmask/Yunnan_1.nii.gz")
    cases = listing(root, layout="breast")
    assert {name: bool(case.problem) for name, case in cases.items()} == {
        **{"1": False, "2": True, "3": True}
    }
    assert cases["1"].images == (root / "image_p1/Yunnan_1_P1.nii.gz",)
    assert cases["1"].labels[0].path == root / "label/Yunnan_1_GT.nii.gz"
    first = listing(root, layout="breast", phase="P0")["1"]
    assert first.images == (root / "image_p0/Yunnan_1_P0.nii.gz",)


def test_breast_authors_training_folders(root: Path) -> None:
    plant(root, "Yunnan/Yunnan_7/P1.nii.gz", "Yunnan/Yunnan_8/P1.nii.gz", "train.txt")
    plant(root, "Yunnan_gt/Yunnan_7.nii.gz", "Yunnan_breast/Yunnan_7.nii.gz")
    cases = listing(root, layout="breast")
    assert {name: bool(case.problem) for name, case in cases.items()} == {"7": False, "8": True}
    assert cases["7"].labels[0].path == root / "Yunnan_gt/Yunnan_7.nii.gz"


def test_breast_folders_may_name_the_centre(root: Path) -> None:
    plant(root, "Yunnan_5/p1.nii.gz", "Yunnan_5/GT.nii.gz")
    case = listing(root, layout="breast")["5"]
    assert (case.problem, case.images[0].name) == ("", "p1.nii.gz")


def test_breast_phase_and_spellings(root: Path) -> None:
    phases = [f"P{number}" for number in range(6)]
    plant(root, *(f"1/{name}.nii.gz" for name in (*phases, "GT", "Breast_mask")))
    plant(root, *(f"19/{name}.nii" for name in ("P1", "P2", "gt")), "20/P0.nii.gz", "readme/P1.nii")
    cases = listing(root, layout="breast")
    assert list(cases) == ["1", "19", "20"]
    assert cases["1"].images == (root / "1/P1.nii.gz",)
    assert cases["1"].labels[0].path == root / "1/GT.nii.gz"
    assert cases["19"].images == (root / "19/P1.nii",)
    assert cases["19"].labels[0].path == root / "19/gt.nii"
    assert {case.modality for case in cases.values()} == {"MR"}
    assert [name for name, case in cases.items() if case.problem] == ["20"]
    second = listing(root, layout="breast", phase="P2")
    assert second["19"].images == (root / "19/P2.nii",)


# BraTS2020


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_brats_channels_and_the_misnamed_mask(root: Path, suffix: str) -> None:
    for number in (1, 355, 356):
        stem = f"BraTS20_Training_{number:03d}/BraTS20_Training_{number:03d}_"
        plant(root, *(f"{stem}{part}{suffix}" for part in ("flair", "t1", "t1ce", "t2", "seg")))
    mask = root / "BraTS20_Training_355" / f"BraTS20_Training_355_seg{suffix}"
    mask.rename(mask.with_name("W39_1998.09.19_Segm.nii"))
    (root / "BraTS20_Training_356" / f"BraTS20_Training_356_t2{suffix}").unlink()
    plant(root, "survival_info.csv", "BraTS20_Training_001/._x.nii")
    cases = listing(root, layout="brats2020")
    good = cases["BraTS20_Training_001"]
    assert [path.name for path in good.images] == [
        f"BraTS20_Training_001_{part}{suffix}" for part in ("t1", "t1ce", "t2", "flair")
    ]
    assert (good.problem, good.modality) == ("", "MR")
    assert "W39_1998.09.19_Segm.nii" in cases["BraTS20_Training_355"].problem
    assert "_355_seg" in cases["BraTS20_Training_355"].problem
    assert "_356_t2" in cases["BraTS20_Training_356"].problem


def test_brats_reads_the_channels_that_are_asked_for(root: Path) -> None:
    stem = "BraTS20_Training_001/BraTS20_Training_001_"
    plant(root, *(f"{stem}{part}.nii" for part in ("flair", "t1ce", "seg", "odd")))  # t1, t2 lack

    def read(*channels: str) -> SourceCase:
        return listing(root, layout="brats2020", channels=channels)["BraTS20_Training_001"]

    def names(case: SourceCase) -> list[str]:
        return [path.name.partition(".")[0].rpartition("_")[2] for path in case.images]

    assert (names(read("flair")), read("flair").problem) == (["flair"], "")
    assert names(read("t1ce", "flair")) == ["t1ce", "flair"]
    assert names(read()) == ["t1", "t1ce", "t2", "flair"]
    assert "_001_t1.nii" in read().problem and "_001_t2.nii" in read().problem
    stray = read("t2").problem
    assert "_001_t2.nii" in stray and "['BraTS20_Training_001_odd.nii']" in stray
    with pytest.raises(ValidationError, match="channels"):
        read("flare")


def test_brats_kaggle_copy_is_nested(root: Path) -> None:
    stem = "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001/BraTS20_Training_001_"
    plant(root, *(f"{stem}{part}.nii" for part in ("flair", "t1", "t1ce", "t2", "seg")))
    plant(root, "MICCAI_BraTS2020_TrainingData/survival_info.csv")
    assert not listing(root, layout="brats2020")["BraTS20_Training_001"].problem


# AbdomenCT-1K


@pytest.mark.parametrize(("masks", "parts"), [("Mask", ("P1", "P2")), ("Masks", ("Images",) * 2)])
def test_abdomenct1k_finds_images_in_any_part(root: Path, masks: str, parts: tuple) -> None:
    plant(root, f"{parts[0]}/Case_00001_0000.nii.gz", f"{parts[1]}/Case_00010_0000.nii.gz")
    plant(root, f"{parts[1]}/Case_00004_0000.nii.gz", f"{parts[1]}/._Case_00001_0000.nii.gz")
    plant(root, *(f"{masks}/Case_{number:05d}.nii.gz" for number in (1, 9, 10)))
    cases = listing(root, layout="abdomenct1k")
    assert list(cases) == ["Case_00001", "Case_00009", "Case_00010"]  # 4 has no mask
    assert cases["Case_00010"].images == (root / parts[1] / "Case_00010_0000.nii.gz",)
    assert [name for name, case in cases.items() if case.problem] == ["Case_00009"]
    assert list(listing(root, layout="abdomenct1k", first=2)) == list(cases)[:2]


# FLARE22


def test_flare_pairs_images_with_channel_suffix(root: Path) -> None:
    plant(root, "images/FLARE22_Tr_0001_0000.nii.gz", "labels/FLARE22_Tr_0001.nii.gz")
    plant(root, "images/FLARE22_Tr_0002_0000.nii.gz", "labels/._FLARE22_Tr_0001.nii.gz")
    cases = listing(root, layout="flare22")
    assert list(cases) == ["FLARE22_Tr_0001", "FLARE22_Tr_0002"]
    assert cases["FLARE22_Tr_0001"].images[0].name == "FLARE22_Tr_0001_0000.nii.gz"
    assert not cases["FLARE22_Tr_0001"].problem
    assert "FLARE22_Tr_0002.nii.gz" in cases["FLARE22_Tr_0002"].problem


# All layouts

LAYOUTS = {
    "msd": {},
    "nnunet": {},
    "folders": {"modality": "CT", "images": ["x/{case}.nii"], "label": "y/{case}.nii"},
    "abdomenct1k": {},
    "kits": {"label_file": "segmentation"},
    "amos22": {},
    "btcv": {},
    "totalsegmentator": {"labels": {"liver": "liver"}},
    "breast": {},
    "brats2020": {},
    "flare22": {},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folder_without_cases_says_what_it_should_hold(root: Path, layout: str) -> None:
    header(root, channel_names={"0": "CT"}, labels={}, file_ending=".nii.gz")
    with pytest.raises(SourceError, match=r"no case in .*data, which should hold .*nii"):
        listing(root, layout=layout, **LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_folder_names_path_and_remedy(tmp_path: Path, layout: str) -> None:
    settings = {"folder": "nowhere", "url": "http://home"} | LAYOUTS[layout]
    with pytest.raises(SourceError) as caught:
        source(layout, **settings).named("mine").find_cases(tmp_path)
    for part in (str(tmp_path / "nowhere"), "http://home", "datasets.mine.folder", "pool"):
        assert part in str(caught.value)


def test_unknown_keys_layouts_and_label_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="floder"):
        source("msd", floder="x")
    with pytest.raises(ValidationError, match="layout"):
        source("nifti")
    with pytest.raises(ValidationError, match="key '1' of this layout must be a whole number"):
        source("msd", labels={"1": "liver"})
    with pytest.raises(ValidationError, match="key 1 of this layout must be a class name"):
        source("totalsegmentator", labels={1: "liver"})
    with pytest.raises(ValidationError, match=r"unannotated\.MR: 'bladder'"):
        source("amos22", unannotated={"MR": ["bladder"]})


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Take a folder's permissions away, as seen by everybody but root, who runs many tests."""

    def take_away(folder: Path) -> None:
        for name, shut in (("scandir", {folder}), ("stat", set())):
            true = getattr(os, name)

            def refuse(path: str, *args, true=true, shut=shut, **kwargs):
                if isinstance(path, str | os.PathLike):
                    if Path(path) in shut or folder in Path(path).parents:
                        raise PermissionError(errno.EACCES, "Permission denied", str(path))
                return true(path, *args, **kwargs)

            monkeypatch.setattr(os, name, refuse)

    return take_away


@pytest.mark.parametrize("folder", ["s0001", "s0001/segmentations"])
@pytest.mark.parametrize("layout", ["totalsegmentator", "folders"])
def test_a_closed_folder_is_the_problem_of_its_case_alone(
    root: Path, close, folder: str, layout: str
) -> None:
    for number in range(3):
        plant(root, f"s000{number}/ct.nii.gz", f"s000{number}/segmentations/liver.nii.gz")
    settings: dict = {"labels": {"liver": "liver"}}
    if layout == "folders":
        pattern = {"images": ["{case}/ct.nii.gz"], "label": "{case}/segmentations/{class}.nii.gz"}
        settings |= {"modality": "CT"} | pattern
    close(root / folder)
    cases = listing(root, layout=layout, **settings)
    assert list(cases) == ["s0000", "s0001", "s0002"]
    assert not cases["s0000"].problem and not cases["s0002"].problem
    if layout == "totalsegmentator":
        assert f"{folder}: Permission denied; check" in cases["s0001"].problem
    else:  # listed as if its files were there: the reader tells that they can't be opened
        assert cases["s0001"].labels[0].path == root / "s0001/segmentations/liver.nii.gz"


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.ELOOP])
def test_a_file_that_the_disk_or_mount_withholds_stays_listed(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    plant(root, "x/a.nii", "x/b.nii", "x/c.nii", "y/a.nii", "y/b.nii", "y/c.nii")
    true = os.stat

    def stat(path: str, *args, **kwargs):
        if str(path).endswith("b.nii"):
            raise OSError(error, os.strerror(error), str(path))
        return true(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    cases = listing(root, layout="folders", **LAYOUTS["folders"])
    assert list(cases) == (["a", "c"] if error == errno.ELOOP else ["a", "b", "c"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_closed_dataset_folder_says_so(root: Path, close, layout: str) -> None:
    close(root)
    with pytest.raises(SourceError, match=r"datasets\.mine: .*data: Permission denied\. Check"):
        listing(root, layout=layout, **LAYOUTS[layout])


def test_listing_opens_dataset_json_alone_and_only_for_reading(root: Path) -> None:
    plant(root, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz")
    plant(root, "data/case_00000/imaging.nii.gz", "data/case_00000/segmentation.nii.gz")
    plant(root, "Training/img/img0001.nii.gz", "s0001/ct.nii.gz", "1/P1.nii.gz", "1/GT.nii.gz")
    plant(root, "BraTS20_Training_001/BraTS20_Training_001_t1.nii")
    plant(root, "images/FLARE22_Tr_0001_0000.nii.gz", "x/1.nii", "Mask/Case_00001.nii.gz")
    header(root, channel_names={"0": "CT"}, labels={"liver": 1}, file_ending=".nii.gz")
    opened: list[tuple[str, int]] = []
    watching = True

    def watch(event: str, arguments: tuple) -> None:
        if watching and event == "open" and str(arguments[0]).startswith(str(root)):
            opened.append((str(arguments[0]), arguments[2]))

    sys.addaudithook(watch)  # sees every open of the interpreter; it can't be removed, only muted
    try:
        for layout, settings in LAYOUTS.items():
            assert listing(root, layout=layout, **settings)
    finally:
        watching = False
    assert {Path(path).name for path, _ in opened} == {"dataset.json"}
    assert all(flags & (os.O_WRONLY | os.O_RDWR) == 0 for _, flags in opened)


@pytest.mark.parametrize("name", ["a\nb", "ab\n", "a\\b"])
@pytest.mark.parametrize(
    ("image", "settings"),
    [
        ("images/{}_0000.nii.gz", {"layout": "flare22"}),
        ("images/{}.nii.gz", {"layout": "folders", "images": ["images/{case}.nii.gz"]}),
        ("{}/ct.nii.gz", {"layout": "folders", "images": ["{case}/ct.nii.gz"]}),
    ],
)
def test_a_name_that_no_folder_can_have_is_told(root: Path, name: str, image, settings) -> None:
    if settings["layout"] == "folders":
        settings = settings | {"label": "labels/{case}.nii.gz", "modality": "CT"}
    for case in ("sound", name):
        plant(root, image.format(case), f"labels/{case}.nii.gz")
    cases = listing(root, **settings)
    assert set(cases) == {"sound", name}
    assert cases["sound"].problem == ""
    file = str(root / image.format(name)).replace("\n", "\\n")
    assert cases[name].problem.startswith(f"{file}: ")
    assert cases[name].problem.endswith("rename it")


# Real folders


def test_real_msd_folder(realdata: Path) -> None:
    msd = source("msd", folder="Task04_Hippocampus", labels={1: "a", 2: "b"})
    cases = msd.named("hippocampus").find_cases(realdata)
    assert len(cases) == 200
    assert {case.modality for case in cases} == {"MR"}
    assert not any(case.problem for case in cases)
    assert all(case.images[0].is_file() and case.labels[0].path.is_file() for case in cases)


def test_real_totalsegmentator_folder(realdata: Path) -> None:
    names = ["liver", "spleen", "aorta", "lung_upper_lobe_left"]
    labels = dict(zip(names, names, strict=True))
    ts = source("totalsegmentator", folder="totalsegmentator_example", labels=labels)
    (case,) = ts.named("ts").find_cases(realdata)
    assert (case.key, case.problem) == ("ts/s9001", "")
    assert [label.class_name for label in case.labels] == names
    assert all(path.is_file() for path in (*case.images, *(x.path for x in case.labels)))
