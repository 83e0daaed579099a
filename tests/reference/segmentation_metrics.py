"""Score the pairs of mask_pairs.py with other packages; writes segmentation_metrics.json.

Run in an environment of its own that has nnunet 1.7.1, nnunetv2, monai, medpy and surface-distance:

    python tests/reference/segmentation_metrics.py
"""

import json
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

np.NaN, np.Inf = np.nan, np.inf  # noqa: NPY201 (surface-distance 0.1 needs them)

import surface_distance  # noqa: E402
from mask_pairs import mask_pairs  # noqa: E402
from medpy.metric import binary as medpy  # noqa: E402
from monai.metrics import (  # noqa: E402
    DiceMetric,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from nnunet.evaluation.metrics import dice as dice_v1  # noqa: E402
from nnunet.evaluation.metrics import hausdorff_distance_95  # noqa: E402
from nnunet.evaluation.surface_dice import normalized_surface_dice  # noqa: E402
from nnunetv2.evaluation.evaluate_predictions import compute_metrics  # noqa: E402
from scipy import ndimage  # noqa: E402

TOLERANCE_MM = 2.0


class InMemory:
    """Stands where nnU-Net v2 wants a reader of files."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def read_seg(self, name):
        return self.arrays[name][None].astype(np.uint8), {}


def one_hot(mask):
    return torch.from_numpy(mask[None, None])


def monai_dice(reference, prediction, ignore_empty):
    metric = DiceMetric(include_background=True, ignore_empty=ignore_empty)
    return float(metric(one_hot(prediction), one_hot(reference)))


def scores(reference, prediction, spacing):
    pair = (one_hot(prediction), one_hot(reference))
    reader = InMemory(reference=reference, prediction=prediction)
    distances = surface_distance.compute_surface_distances(reference, prediction, spacing)
    orders = ((prediction, reference), (reference, prediction))
    distances_of = getattr(medpy, "__surface_distances")
    filled = reference.any() and prediction.any()
    return {
        "dice nnunet v1": dice_v1(prediction, reference),
        "dice nnunet v2": compute_metrics("reference", "prediction", reader, [1])["metrics"][1][
            "Dice"
        ],
        "dice monai": monai_dice(reference, prediction, ignore_empty=False),
        "dice monai ignore_empty": monai_dice(reference, prediction, ignore_empty=True),
        "nsd monai": float(
            compute_surface_dice(*pair, [TOLERANCE_MM], include_background=True, spacing=spacing)
        ),
        "nsd monai subvoxel": float(
            compute_surface_dice(
                *pair, [TOLERANCE_MM], include_background=True, spacing=spacing, use_subvoxels=True
            )
        ),
        "nsd nnunet v1": (
            normalized_surface_dice(prediction, reference, TOLERANCE_MM, spacing)
            if filled
            else np.nan
        ),
        "nsd surface-distance": surface_distance.compute_surface_dice_at_tolerance(
            distances, TOLERANCE_MM
        ),
        "hd95 monai": (
            float(
                compute_hausdorff_distance(
                    *pair, include_background=True, percentile=95, spacing=spacing
                )
            )
            if filled
            else np.nan
        ),
        "hd95 medpy": medpy.hd95(prediction, reference, spacing) if filled else np.nan,
        "hd95 medpy directed": (
            max(np.percentile(distances_of(*order, spacing), 95) for order in orders)
            if filled
            else np.nan
        ),
        "hd95 nnunet v1": hausdorff_distance_95(prediction, reference, voxel_spacing=spacing),
        "hd95 surface-distance": (
            surface_distance.compute_robust_hausdorff(distances, 95) if filled else np.nan
        ),
    }


def main():
    warnings.filterwarnings("ignore")
    # surface-distance 0.1 uses two sub-modules that scipy has since removed.
    ndimage.filters = ndimage.morphology = ndimage
    packages = ("nnunet", "nnunetv2", "monai", "medpy", "surface-distance")
    document = {
        "packages": {name: version(name) for name in packages},
        "tolerance_mm": TOLERANCE_MM,
        "pairs": {
            name: {
                metric: None if np.isnan(value) else float(value)
                for metric, value in scores(*pair).items()
            }
            for name, pair in mask_pairs().items()
        },
    }
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
