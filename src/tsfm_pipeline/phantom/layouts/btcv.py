"""BTCV (Synapse syn3193805): RawData/Training/{img,label}; ids 0001-0010 and 0021-0040."""

from tsfm_pipeline.phantom.plan import (
    ImageFile,
    LabelMapFile,
    LayoutPlan,
    PhantomCase,
    View,
    torso_view,
)

VALUES = {
    "spleen": 1,
    "kidney_right": 2,
    "kidney_left": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "portal_vein_and_splenic_vein": 10,
    "pancreas": 11,
    "adrenal_gland_right": 12,
    "adrenal_gland_left": 13,
}
VIEW = View(
    *torso_view(-90, 82, (4.5, 6.0), (4.2, 5.0)),
    orientations=("LAS",),
    lesions={"liver_tumor": (0, 1)},
)
TRAINING_NUMBERS = (*range(1, 11), *range(21, 41))


def plan_btcv(count: int) -> LayoutPlan:
    """Plan `count` of the 30 labelled cases and one test case."""
    numbers = [TRAINING_NUMBERS[i * len(TRAINING_NUMBERS) // count] for i in range(count)]
    cases = [
        PhantomCase(
            dataset="btcv",
            case=f"img{number:04d}",
            patient=f"btcv/{number}",
            view=VIEW,
            images=(ImageFile(f"Training/img/img{number:04d}.nii.gz"),),
            labels=(LabelMapFile(f"Training/label/label{number:04d}.nii.gz", VALUES),),
            annotated=tuple(VALUES),
        )
        for number in numbers
    ]
    test = ImageFile("Testing/img/img0061.nii.gz")
    cases.append(PhantomCase("btcv", "img0061", "btcv/61", VIEW, (test,)))
    return LayoutPlan("RawData", tuple(cases))
