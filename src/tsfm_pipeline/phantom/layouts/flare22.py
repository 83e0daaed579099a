"""AbdomenCT-1K's 50 cases with 13 organs, released as FLARE22_LabeledCase50."""

from tsfm_pipeline.phantom.plan import (
    ImageFile,
    LabelMapFile,
    LayoutPlan,
    PhantomCase,
    View,
    torso_view,
)

VALUES = {
    "liver": 1,
    "kidney_right": 2,
    "spleen": 3,
    "pancreas": 4,
    "aorta": 5,
    "inferior_vena_cava": 6,
    "adrenal_gland_right": 7,
    "adrenal_gland_left": 8,
    "gallbladder": 9,
    "esophagus": 10,
    "stomach": 11,
    "duodenum": 12,
    "kidney_left": 13,
}
VIEW = View(
    *torso_view(-84, 84, (4.5, 5.5), (4.2, 5.0)),
    lesions={"pancreas_tumor": (0, 1)},
)


def plan_flare22(count: int) -> LayoutPlan:
    """Plan `count` cases numbered from 0001."""
    cases = []
    for number in range(1, count + 1):
        name = f"FLARE22_Tr_{number:04d}"
        cases.append(
            PhantomCase(
                dataset="abdomenct1k",
                case=name,
                patient=f"abdomenct1k/{number}",
                view=VIEW,
                images=(ImageFile(f"images/{name}_0000.nii.gz"),),
                labels=(LabelMapFile(f"labels/{name}.nii.gz", VALUES),),
                annotated=tuple(VALUES),
            )
        )
    return LayoutPlan("FLARE22_LabeledCase50", tuple(cases))
