"""BraTS2020: four co-registered contrasts on one 240 x 240 x 155 mm grid, labels 0, 1, 2, 4.

Skull-stripped with zeros outside the brain. Case 355 of the release has a misnamed mask; it
appears here when that many cases are asked for.
"""

from tsfm_pipeline.phantom.plan import ImageFile, LabelMapFile, LayoutPlan, PhantomCase, View

VALUES = {"brain_tumor_necrosis": 1, "brain_edema": 2, "brain_tumor_enhancing": 4}
VIEW = View(
    lower=(-120.0, -120.0, -83.0),
    upper=(120.0, 120.0, 72.0),
    slice_spacing=(5.0, 5.0),
    pixel_spacing=(5.0, 5.0),
    orientations=("LPS",),
    origin=(0.0, -239.0, 0.0),
    gain=(2.3, 3.3),
    body="head",
)
MISNAMED = {355: "W39_1998.09.19_Segm"}


def plan_brats2020(count: int) -> LayoutPlan:
    """Plan `count` cases numbered from 001."""
    cases = []
    for number in range(1, count + 1):
        name = f"BraTS20_Training_{number:03d}"
        mask = MISNAMED.get(number, f"{name}_seg")
        cases.append(
            PhantomCase(
                dataset="brats2020",
                case=name,
                patient=f"brats2020/{number}",
                view=VIEW,
                images=tuple(
                    ImageFile(f"{name}/{name}_{contrast}.nii.gz", contrast)
                    for contrast in ("flair", "t1", "t1ce", "t2")
                ),
                labels=(LabelMapFile(f"{name}/{mask}.nii.gz", VALUES, dtype="int16"),),
                annotated=tuple(VALUES),
            )
        )
    rows = ["Brats20ID,Age,Survival_days,Extent_of_Resection"]
    rows += [f"{case.case},60.0,400,GTR" for case in cases]
    texts = {"survival_info.csv": ("\n".join(rows) + "\n").encode()}
    return LayoutPlan("MICCAI_BraTS2020_TrainingData", tuple(cases), texts)
