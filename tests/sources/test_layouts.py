"""Every layout as a hand-made directory tree; listing reads names, so the files hold no volume."""

import json
import os
import sys
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
    cases = source(**settings).find_cases("mine", root.parent)
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
    (case,) = kits21.find_cases("kits21", tmp_path)
    assert (case.case, case.problem) == ("case_00007", "")
    assert case.images == (folder / "imaging.nii.gz",)
    assert case.labels[0].path == folder / "aggregated_MAJ_seg.nii.gz"


def test_a_case_is_one_patient_in_both_kits(root: Path) -> None:
    plant(root, "data/case_00003/imaging.nii.gz", "data/case_00003/segmentation.nii.gz")
    patients = {
        source("kits", label_file="segmentation").find_cases(name, root.parent)[0].patient
        for name in ("kits19", "kits21")
    }
    assert patients == {"kits_00003"}


# AMOS22


def test_amos_modality_follows_the_number(root: Path) -> None:
    for name in ("amos_0001", "amos_0410", "amos_0507", "amos_0600"):
        plant(root, f"imagesTr/{name}.nii.gz", f"labelsTr/{name}.nii.gz")
    plant(root, "imagesVa/amos_0409.nii.gz", "labelsVa/amos_0409.nii.gz")
    plant(root, "imagesTs/amos_0300.nii.gz", "dataset.json", "imagesTr/._amos_0001.nii.gz")
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
    cases = listing(root, layout="totalsegmentator", labels=labels)
    assert list(cases) == ["s0000", "s0001", "s0002"]
    assert [(label.class_name, label.path.name) for label in cases["s0000"].labels] == [
        ("liver", "liver.nii.gz"),
        ("spleen", "spleen.nii.gz"),
    ]
    assert not cases["s0000"].problem  # kidney_left is absent from the scan
    assert str(root / "s0001/segmentations") in cases["s0001"].problem
    assert "ct.nii.gz" in cases["s0002"].problem


# Breast


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
    if layout == "msd":
        header(root)
    with pytest.raises(SourceError, match=r"no case in .*data, which should hold .*nii"):
        listing(root, layout=layout, **LAYOUTS[layout])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_folder_names_path_and_remedy(tmp_path: Path, layout: str) -> None:
    settings = {"folder": "nowhere", "url": "http://home"} | LAYOUTS[layout]
    with pytest.raises(SourceError) as caught:
        source(layout, **settings).find_cases("mine", tmp_path)
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


def test_listing_opens_dataset_json_alone_and_only_for_reading(root: Path) -> None:
    plant(root, "imagesTr/amos_0001.nii.gz", "labelsTr/amos_0001.nii.gz")
    plant(root, "data/case_00000/imaging.nii.gz", "data/case_00000/segmentation.nii.gz")
    plant(root, "Training/img/img0001.nii.gz", "s0001/ct.nii.gz", "1/P1.nii.gz", "1/GT.nii.gz")
    plant(root, "BraTS20_Training_001/BraTS20_Training_001_t1.nii")
    plant(root, "images/FLARE22_Tr_0001_0000.nii.gz")
    header(root)
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
    assert [Path(path).name for path, _ in opened] == ["dataset.json"]
    assert all(flags & (os.O_WRONLY | os.O_RDWR) == 0 for _, flags in opened)


# Real folders


def test_real_msd_folder(realdata: Path) -> None:
    cases = source("msd", folder="Task04_Hippocampus").find_cases("hippocampus", realdata)
    assert len(cases) == 200
    assert {case.modality for case in cases} == {"MR"}
    assert not any(case.problem for case in cases)
    assert all(case.images[0].is_file() and case.labels[0].path.is_file() for case in cases)


def test_real_totalsegmentator_folder(realdata: Path) -> None:
    names = ["liver", "spleen", "aorta", "lung_upper_lobe_left"]
    (case,) = source(
        "totalsegmentator",
        folder="totalsegmentator_example",
        labels=dict(zip(names, names, strict=True)),
    ).find_cases("ts", realdata)
    assert (case.key, case.problem) == ("ts/s9001", "")
    assert [label.class_name for label in case.labels] == names
    assert all(path.is_file() for path in (*case.images, *(x.path for x in case.labels)))
