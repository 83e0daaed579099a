"""TotalSegmentator v1: one folder per case, one binary file per class, `;`-separated meta.csv.

Some of the release's classes beyond "part1" (the 17 organs of the label table) are written too,
as a user finds them; a class outside the field of view has an empty file.
"""

from dataclasses import replace

from tsfm_pipeline.phantom.plan import (
    ImageFile,
    LabelMapFile,
    LayoutPlan,
    PhantomCase,
    View,
    torso_view,
)

PART1 = (
    "spleen",
    "kidney_right",
    "kidney_left",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "inferior_vena_cava",
    "portal_vein_and_splenic_vein",
    "pancreas",
    "adrenal_gland_right",
    "adrenal_gland_left",
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)
OTHER_CLASSES = ("esophagus", "trachea", "small_bowel", "duodenum", "colon", "urinary_bladder")
WHOLE = View(
    *torso_view(-152, 152, (5.0, 5.0), (5.0, 5.0)),
    lesions={"liver_tumor": (0, 1), "lung_tumor": (0, 1)},
)
CHEST = replace(WHOLE, lower=(*WHOLE.lower[:2], -45.0))
ABDOMEN = replace(WHOLE, upper=(*WHOLE.upper[:2], 90.0))
SPLITS = ("train", "train", "train", "val", "test")


def plan_totalsegmentator(count: int) -> LayoutPlan:
    """Plan `count` cases: whole torso, chest with upper abdomen, abdomen in turn."""
    cases, rows = [], ["image_id;age;gender;institute;study_type;split"]
    for i in range(count):
        name = f"s{i * 11:04d}"
        labels = tuple(
            LabelMapFile(f"{name}/segmentations/{label}.nii.gz", {label: 1})
            for label in (*PART1, *OTHER_CLASSES)
        )
        cases.append(
            PhantomCase(
                dataset="totalsegmentator",
                case=name,
                patient=f"totalsegmentator/{name}",
                view=(WHOLE, CHEST, ABDOMEN)[i % 3],
                images=(ImageFile(f"{name}/ct.nii.gz"),),
                labels=labels,
                annotated=PART1,
            )
        )
        rows.append(f"{name};{40 + i * 7 % 45};{'mf'[i % 2]};A;ct abdomen;{SPLITS[i % 5]}")
    texts = {"meta.csv": ("\n".join(rows) + "\n").encode()}
    return LayoutPlan("Totalsegmentator_dataset", tuple(cases), texts)
