"""The right label at known world points, found with nibabel alone."""

from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.phantom.conftest import Phantoms
from tests.phantom.test_phantom_layouts import PART1

MSD = {
    "msd_liver": ("Task03_Liver", {"liver": 1, "liver_tumor": 2}),
    "msd_lung": ("Task06_Lung", {"lung_tumor": 1}),
    "msd_pancreas": ("Task07_Pancreas", {"pancreas": 1, "pancreas_tumor": 2}),
    "msd_hepaticvessel": ("Task08_HepaticVessel", {"hepatic_vessel": 1, "liver_tumor": 2}),
    "msd_colon": ("Task10_Colon", {"colon_tumor": 1}),
}
ORGANS = {
    "amos22": "spleen kidney_right kidney_left gallbladder esophagus liver stomach aorta"
    " inferior_vena_cava pancreas adrenal_gland_right adrenal_gland_left duodenum urinary_bladder"
    " prostate_or_uterus",
    "btcv": "spleen kidney_right kidney_left gallbladder esophagus liver stomach aorta"
    " inferior_vena_cava portal_vein_and_splenic_vein pancreas adrenal_gland_right"
    " adrenal_gland_left",
    "abdomenct1k": "liver kidney_right spleen pancreas aorta inferior_vena_cava"
    " adrenal_gland_right adrenal_gland_left gallbladder esophagus stomach duodenum kidney_left",
}
VALUES = {
    **{name: values for name, (_, values) in MSD.items()},
    **{name: {t: i for i, t in enumerate(o.split(), 1)} for name, o in ORGANS.items()},
    "breast": {"breast_tumor": 1},
    "kits21": {"kidney": 1, "kidney_tumor": 2, "kidney_cyst": 3},
    "kits19": {"kidney": 1, "kidney_tumor": 2},
    "brats2020": {"brain_tumor_necrosis": 1, "brain_edema": 2, "brain_tumor_enhancing": 4},
}


def label_file(root: Path, dataset: str, case: str) -> Path:
    if dataset in MSD:
        return root / MSD[dataset][0] / "labelsTr" / f"{case}.nii.gz"
    patterns = {
        "breast": f"breast/{case}/GT.nii*",
        "kits21": f"kits21/data/{case}/aggregated_MAJ_seg.nii.gz",
        "kits19": f"kits19/data/{case}/segmentation.nii.gz",
        "amos22": f"amos22/labels*/{case}.nii.gz",
        "btcv": f"RawData/Training/label/{case.replace('img', 'label')}.nii.gz",
        "brats2020": f"MICCAI_BraTS2020_TrainingData/{case}/{case}_seg.nii.gz",
        "abdomenct1k": f"FLARE22_LabeledCase50/labels/{case}.nii.gz",
    }
    (path,) = root.glob(patterns[dataset])
    return path


def value_at(path: Path, point_lps: list[float]) -> int:
    image = nib.load(path)
    point_ras = np.array([-point_lps[0], -point_lps[1], point_lps[2]])
    voxel = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), point_ras)).astype(int)
    return int(image.dataobj[tuple(voxel)])


def test_every_landmark_has_its_label(phantoms: Phantoms) -> None:
    checked = Counter()
    for row in phantoms.manifest:
        for mark in row["landmarks"]:
            target, point = mark["target"], mark["point"]
            if row["dataset"] == "totalsegmentator":
                folder = phantoms.root / "Totalsegmentator_dataset" / row["case"] / "segmentations"
                found = [n for n in PART1 if value_at(folder / f"{n}.nii.gz", point)]
                assert found == ([target] if target else []), (row["case"], mark)
            else:
                path = label_file(phantoms.root, row["dataset"], row["case"])
                expected = VALUES[row["dataset"]][target] if target else 0
                assert value_at(path, point) == expected, (path, mark)
            checked[row["dataset"], target] += 1
    wanted = {(dataset, t) for dataset, values in VALUES.items() for t in ["", *values]}
    wanted |= {("totalsegmentator", t) for t in ["", *PART1]}
    assert wanted - set(checked) == set()


def test_manifest_lists_every_labelled_case(phantoms: Phantoms) -> None:
    rows = Counter(row["dataset"] for row in phantoms.manifest)
    validation_cases_of_amos = 2
    expected = dict(phantoms.settings.cases)
    expected["amos22"] += validation_cases_of_amos
    assert rows == expected
