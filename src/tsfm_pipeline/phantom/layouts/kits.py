"""KiTS21 and KiTS19: slice-first axis order (codes I, P, L) with the origin at zero.

KiTS21 holds every KiTS19 scan under the same number: where both are planned with one number,
patient and image are the same here too, under other labels.
"""

import json

from tsfm_pipeline.phantom.plan import (
    ImageFile,
    LabelMapFile,
    LayoutPlan,
    PhantomCase,
    View,
    torso_view,
)

VIEW = View(
    *torso_view(-88, 62, (4.0, 6.0), (4.2, 5.0)),
    orientations=("IPL",),
    origin=(0.0, 0.0, 0.0),
    lesions={"kidney_tumor": (1, 2), "kidney_cyst": (0, 2)},
)
MASSES = {"kidney_tumor": 2, "kidney_cyst": 3}


def _case_name(number: int) -> str:
    return f"case_{number:05d}"


def _image(name: str) -> tuple[ImageFile, ...]:
    return (ImageFile(f"data/{name}/imaging.nii.gz", dtype="float32"),)


def plan_kits21(count: int) -> LayoutPlan:
    """Plan `count` cases of the 300, each with three aggregated label maps.

    The OR map is larger and the AND map smaller than the majority map (MAJ) that counts.
    """
    values = {"kidney": 1, **MASSES}
    cases = []
    for number in (i * 300 // count for i in range(count)):
        name = _case_name(number)
        instances = {
            "kidney_instance-1_annotation-1": {"kidney_right": 1},
            "kidney_instance-2_annotation-1": {"kidney_left": 1},
            "tumor_instance-1_annotation-1": {"kidney_tumor": 1},
        }
        cases.append(
            PhantomCase(
                dataset="kits21",
                case=name,
                patient=f"kits/{name}",
                view=VIEW,
                images=_image(name),
                labels=(
                    LabelMapFile(f"data/{name}/aggregated_MAJ_seg.nii.gz", values),
                    LabelMapFile(f"data/{name}/aggregated_OR_seg.nii.gz", values, grow=1.5),
                    LabelMapFile(f"data/{name}/aggregated_AND_seg.nii.gz", values, grow=-1.5),
                    *(
                        LabelMapFile(f"data/{name}/segmentations/{file}.nii.gz", instance)
                        for file, instance in instances.items()
                    ),
                ),
                annotated=tuple(values),
            )
        )
    clinical = [{"case_id": case.case, "voided_ischemia_time": None} for case in cases]
    texts = {"data/clinical_data.json": json.dumps(clinical, indent=1).encode()}
    return LayoutPlan("kits21", tuple(cases), texts)


def plan_kits19(count: int) -> LayoutPlan:
    """Plan `count` labelled cases of 0-209 and one without label (210); cysts count as kidney.

    One label file is uint16, as nine of the published ones are.
    """
    values = {"kidney": 1, "kidney_tumor": 2}
    cases = []
    for i in range(count):
        name = _case_name(i * 210 // count)
        path = f"data/{name}/segmentation.nii.gz"
        label = LabelMapFile(path, values, dtype="uint16" if i == 1 else "uint8")
        cases.append(
            PhantomCase(
                dataset="kits19",
                case=name,
                patient=f"kits/{name}",
                view=VIEW,
                images=_image(name),
                labels=(label,),
                annotated=tuple(values),
            )
        )
    test = _case_name(210)
    cases.append(PhantomCase("kits19", test, f"kits/{test}", VIEW, _image(test)))
    clinical = [{"case_id": case.case} for case in cases]
    texts = {"data/kits.json": json.dumps(clinical, indent=1).encode()}
    return LayoutPlan("kits19", tuple(cases), texts)
