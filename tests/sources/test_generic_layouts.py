"""The layouts that let a user add a dataset by one entry: nnU-Net v2's raw format and patterns."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.sources.test_layouts import listing, plant, root, source
from tsfm_pipeline.sources import SourceError

__all__ = ["root"]


def header(root: Path, **keys: Any) -> None:
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content | keys))


# nnU-Net v2


def test_nnunet_pairs_channels_and_labels(root: Path) -> None:
    header(root, channel_names={"0": "T1", "1": "FLAIR"})
    plant(root, "imagesTr/a_1_0000.nii.gz", "imagesTr/a_1_0001.nii.gz", "labelsTr/a_1.nii.gz")
    plant(root, "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz", "imagesTr/._a_1_0000.nii.gz")
    plant(root, "labelsTr/c.nii.gz", "imagesTs/d_0000.nii.gz", "imagesTr/e_0000.nii")
    cases = listing(root, layout="nnunet")
    assert list(cases) == ["a_1", "b", "c"]
    assert [path.name for path in cases["a_1"].images] == ["a_1_0000.nii.gz", "a_1_0001.nii.gz"]
    assert cases["a_1"].labels[0].path == root / "labelsTr/a_1.nii.gz"
    assert (cases["a_1"].modality, cases["a_1"].problem) == ("MR", "")
    assert "b_0001.nii.gz" in cases["b"].problem
    assert "b_0000" not in cases["b"].problem
    assert "c_0000.nii.gz" in cases["c"].problem
    one = listing(root, layout="nnunet", channels=[0])
    assert [path.name for path in one["b"].images] == ["b_0000.nii.gz"]
    assert not one["b"].problem
    turned = listing(root, layout="nnunet", channels=[1, 0])["a_1"]
    assert [path.name for path in turned.images] == ["a_1_0001.nii.gz", "a_1_0000.nii.gz"]
    with pytest.raises(SourceError, match=r"mine\.channels: \[2\] not among"):
        listing(root, layout="nnunet", channels=[2])


@pytest.mark.parametrize(
    ("names", "modality"),
    [(["CT"], "CT"), (["ct "], "CT"), (["MRI"], "MR"), (["T1", "zscore"], "MR"), (["PET"], "MR")],
)
def test_nnunet_modality_follows_the_channel_name(root: Path, names: list, modality: str) -> None:
    header(root, channel_names=dict(enumerate(names)))
    plant(root, "labelsTr/a.nii.gz")
    assert listing(root, layout="nnunet")["a"].modality == modality
    assert listing(root, layout="nnunet", modality="CT")["a"].modality == "CT"


def test_nnunet_mixed_channels_need_a_word(root: Path) -> None:
    header(root, channel_names={"0": "CT", "1": "PET"})
    plant(root, "labelsTr/a.nii.gz")
    with pytest.raises(SourceError, match=r"datasets\.mine\.modality"):
        listing(root, layout="nnunet")
    assert listing(root, layout="nnunet", channels=[0])["a"].modality == "CT"


def test_nnunet_regions_and_ignore_must_be_mapped(root: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4}
    header(root, labels=labels)
    plant(root, "imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
    with pytest.raises(SourceError, match=r"\{2: 'whole, core', 3: 'whole, core', 4: 'ignore'\}"):
        listing(root, layout="nnunet")
    mapped = {1: "liver", 2: "spleen", 3: "aorta", 4: None}
    assert not listing(root, layout="nnunet", labels=mapped)["a"].problem


def test_nnunet_dataset_section_names_the_files(root: Path) -> None:
    plant(
        root, "scans/one.nii.gz", "masks/one.nii.gz", "scans/two.nii.gz", "imagesTr/z_0000.nii.gz"
    )
    plant(root.parent, "out.nii.gz")
    files = {
        "one": {"images": ["scans/one.nii.gz"], "label": "./masks/one.nii.gz"},
        "two": {"images": ["scans/two.nii.gz"], "label": "masks/two.nii.gz"},
        "out": {"images": ["../out.nii.gz"], "label": "masks/one.nii.gz"},
        "../up": {"images": ["scans/one.nii.gz"], "label": "masks/one.nii.gz"},
        "many": {"images": ["scans/one.nii.gz"] * 2, "label": "masks/one.nii.gz"},
    }
    header(root, dataset=files)
    cases = listing(root, layout="nnunet")
    assert list(cases) == ["../up", "many", "one", "out", "two"]
    assert "names a case '../up', which can't name a folder" in cases["../up"].problem
    assert cases["one"].labels[0].path == root / "masks/one.nii.gz"
    assert not cases["one"].problem
    assert str(root / "masks/two.nii.gz") in cases["two"].problem
    assert "'../out.nii.gz', which lies outside" in cases["out"].problem
    assert "2 images of this case and 1 channels" in cases["many"].problem


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file_ending": ".png"}, "'.png'; only 3-D volumes"),
        ({"labels": {"liver": "1x"}}, r"labels\.liver"),
        ({"channel_names": {"1": "CT"}}, r"\[1\]; number them 0, 1"),
        ({"channel_names": {}}, "number them 0, 1"),
    ],
)
def test_nnunet_useless_headers_are_named(root: Path, keys: dict, message: str) -> None:
    plant(root, "labelsTr/a.nii.gz")
    header(root, **keys)
    with pytest.raises(SourceError, match=rf"datasets\.mine: (?s:.*){message}"):
        listing(root, layout="nnunet")


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
def test_nnunet_file_ending(root: Path, ending: str) -> None:
    header(root, file_ending=ending)
    plant(root, f"imagesTr/a_0000{ending}", f"labelsTr/a{ending}", "imagesTr/b_0000.nii.gz")
    cases = listing(root, layout="nnunet")
    assert list(cases) == ["a"]
    assert not cases["a"].problem


@pytest.mark.parametrize(
    ("names", "settings", "told"),
    [
        (["CT"], {}, ""),
        (["CT", "CT"], {}, ""),
        (["T1", "FLAIR"], {}, ""),
        (["CT_venous"], {"modality": "CT"}, ""),
        (["T1", "noNorm", "rescale_to_0_1"], {}, "noNorm, rescale_to_0_1 are z-scored"),
        (["T1", "noNorm"], {"channels": [0]}, ""),
        (["CT", "PET"], {"modality": "MR"}, "CT are z-scored"),
        (["CT", "PET"], {"modality": "CT"}, "PET are clipped and scaled as CT"),
    ],
)
def test_nnunet_tells_channels_normalised_otherwise(
    root: Path, caplog, names: list, settings: dict, told: str
) -> None:
    header(root, channel_names=dict(enumerate(names)))
    plant(root, "labelsTr/a.nii.gz", "labelsTr/b.nii.gz")
    listing(root, layout="nnunet", **settings)
    messages = [r.getMessage() for r in caplog.records if "nnU-Net would" in r.getMessage()]
    assert len(messages) == bool(told)  # once, not per case
    assert told in "".join(messages)


# Patients


def three_cases(root: Path, layout: str) -> dict[str, Any]:
    """Two scans of P7 and one of P8 in a layout; return the layout's settings."""
    names = ["P7_a", "P7_b", "P8_a"]
    plant(root, *(f"labelsTr/{name}.nii.gz" for name in names))
    channel = "_0000" if layout == "nnunet" else ""
    plant(root, *(f"imagesTr/{name}{channel}.nii.gz" for name in names))
    header(root, modality={"0": "CT"})
    if layout != "folders":
        return {"layout": layout}
    patterns = {"images": ["imagesTr/{case}.nii.gz"], "label": "labelsTr/{case}.nii.gz"}
    return {"layout": layout, "modality": "CT", **patterns}


@pytest.mark.parametrize("layout", ["msd", "nnunet", "folders"])
def test_a_case_name_tells_the_patient(root: Path, layout: str) -> None:
    settings = three_cases(root, layout)

    def patients(expression: str | None) -> list[str]:
        return [case.patient for case in listing(root, patient=expression, **settings).values()]

    assert patients(None) == ["mine/P7_a", "mine/P7_b", "mine/P8_a"]
    assert patients(r"^(P\d+)_") == patients(r"P\d") == ["mine/P7", "mine/P7", "mine/P8"]
    assert patients(r"^(P7)_|.+") == ["mine/P7", "mine/P7", "mine/P8_a"]
    with pytest.raises(SourceError, match=r"mine\.patient: 'P7' finds no patient.*'P8_a'"):
        patients("P7")
    with pytest.raises(SourceError, match="finds no patient"):
        patients("x*")  # matches, but nothing
    with pytest.raises(ValidationError, match="is no regular expression"):
        patients("(")


# Patterns


def patterns(root: Path, images: list[str], label: str, **more: Any) -> dict[str, Any]:
    settings = {"layout": "folders", "modality": "CT", "images": images, "label": label}
    return listing(root, **settings, **more)


def test_folders_one_folder_per_case(root: Path) -> None:
    plant(root, "S_1/CT_image.nii.gz", "S_1/CT_mask.nii.gz", "S_2/CT_image.nii.gz", "LICENSE.md")
    plant(root, "S_3/CT_mask.nii.gz", ".S_4/CT_image.nii.gz", "S_1/._CT_image.nii.gz")
    cases = patterns(root, ["{case}/CT_image.nii.gz"], "{case}/CT_mask.nii.gz")
    assert list(cases) == ["S_1", "S_2", "S_3"]
    assert cases["S_1"].images == (root / "S_1/CT_image.nii.gz",)
    assert cases["S_1"].labels[0].path == root / "S_1/CT_mask.nii.gz"
    assert (cases["S_1"].modality, cases["S_1"].problem) == ("CT", "")
    assert str(root / "S_2/CT_mask.nii.gz") in cases["S_2"].problem
    assert str(root / "S_3/CT_image.nii.gz") in cases["S_3"].problem


def test_folders_flat_and_in_one_folder(root: Path) -> None:
    plant(root, "a.nii.gz", "a_seg.nii.gz", "b_seg.nii.gz", "._a.nii.gz", "c.nii.gz")
    cases = patterns(root, ["{case}.nii.gz"], "{case}_seg.nii.gz")
    assert {name: bool(case.problem) for name, case in cases.items()} == {
        **{"a": False, "b": True, "c": True}
    }
    turned = patterns(root, ["{case}_seg.nii.gz"], "{case}.nii.gz")  # the longer name wins again
    assert turned["a"].images == (root / "a_seg.nii.gz",)
    assert list(turned) == ["a", "b", "c"]


def test_folders_name_may_be_repeated_and_nested(root: Path) -> None:
    plant(root, "raw/p1/p1_t1.mha", "raw/p1/p1_t2.mha", "raw/p1/p2_t1.mha", "lab/p1.mha")
    plant(root, "raw/p3/p3_t1.mha", "lab/p3.mha")
    images = ["raw/{case}/{case}_t1.mha", "raw/{case}/{case}_t2.mha"]
    cases = patterns(root, images, "lab/{case}.mha")
    assert list(cases) == ["p1", "p3"]
    assert [path.name for path in cases["p1"].images] == ["p1_t1.mha", "p1_t2.mha"]
    assert not cases["p1"].problem
    assert "p3_t2.mha" in cases["p3"].problem


def test_folders_with_a_file_per_class(root: Path) -> None:
    plant(root, "1/ct.nii", "1/seg/liver.nii", "1/seg/heart.nii", "2/ct.nii", "2/seg/spleen.nii")
    plant(root, "3/ct.nii")
    labels = {"spleen": "spleen", "liver": "liver", "heart": None}
    cases = patterns(root, ["{case}/ct.nii"], "{case}/seg/{class}.nii", labels=labels)
    assert [label.class_name for label in cases["1"].labels] == ["liver"]
    assert [label.path for label in cases["2"].labels] == [root / "2/seg/spleen.nii"]
    assert [name for name, case in cases.items() if case.problem] == ["3"]
    with pytest.raises(SourceError, match="aorta"):
        patterns(
            root, ["{case}/ct.nii"], "{case}/seg/{class}.nii", labels=labels | {"aorta": "aorta"}
        )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"images": ["ct.nii.gz"]}, "'ct.nii.gz' has no {case}"),
        ({"label": "../{case}.nii.gz"}, "leads out of the dataset's folder"),
        ({"images": ["/data/{case}.nii.gz"]}, "leads out"),
        ({"images": []}, "images"),
        ({"label": "{case}/{class}.nii.gz"}, "key 1 of this layout must be a class name"),
    ],
)
def test_folders_wrong_patterns_are_refused(keys: dict[str, Any], message: str) -> None:
    settings = {"modality": "CT", "images": ["{case}.nii"], "label": "{case}_seg.nii"} | keys
    with pytest.raises(ValidationError, match=message):
        source("folders", **settings)
