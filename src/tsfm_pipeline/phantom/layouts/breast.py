"""Breast DCE-MRI (Zhang et al. 2023): one folder per case with six phases and two masks.

Both `.nii.gz` and `.nii` circulate; the last case here is uncompressed.
"""

from tsfm_pipeline.phantom.plan import ImageFile, LabelMapFile, LayoutPlan, PhantomCase, View

VIEW = View(
    lower=(-120.0, -128.0, 36.0),
    upper=(120.0, 40.0, 142.0),
    slice_spacing=(4.0, 5.0),
    pixel_spacing=(4.0, 4.8),
    orientations=("LPS",),
    lesions={"breast_tumor": (1, 2)},
    gain=(2.3, 3.3),
    breasts=True,
)


def plan_breast(count: int) -> LayoutPlan:
    """Plan `count` cases in folders 1..count."""
    cases = []
    for number in range(1, count + 1):
        ending = "nii" if number == count else "nii.gz"
        cases.append(
            PhantomCase(
                dataset="breast",
                case=str(number),
                patient=f"breast/{number}",
                view=VIEW,
                images=tuple(ImageFile(f"{number}/P{p}.{ending}", f"P{p}") for p in range(6)),
                labels=(
                    LabelMapFile(f"{number}/GT.{ending}", {"breast_tumor": 1}),
                    LabelMapFile(f"{number}/Breast_mask.{ending}", {"breast": 1}),
                ),
                annotated=("breast_tumor",),
            )
        )
    return LayoutPlan("breast", tuple(cases))
