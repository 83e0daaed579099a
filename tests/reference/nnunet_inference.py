"""Make nnunet_inference.npz and .json: what nnU-Net's own functions give for inference.

Run from the repository's root in an environment with nnunet 1.7.1, nnunetv2 2.8.1 and numpy:

    python -m tests.reference.nnunet_inference
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from nnunet.evaluation.evaluator import aggregate_scores
from nnunet.network_architecture.neural_network import SegmentationNetwork
from nnunet.postprocessing.connected_components import (
    determine_postprocessing,
    remove_all_but_the_largest_connected_component,
)
from nnunetv2.inference.sliding_window_prediction import (
    compute_gaussian,
    compute_steps_for_sliding_window,
)
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    resample_data_or_seg_to_shape,
)

from tests.inference.shapes import NETWORK_SPACING, REGIONS, RESAMPLED, blobs
from tests.inference.speckles import COMPONENTS, DECISIONS

HERE = Path(__file__).parent

WINDOWS = [
    ((110, 300, 301), (64, 96, 112), 0.5),
    ((64, 65, 96), (64, 64, 64), 0.5),
    ((473, 130, 97), (40, 128, 96), 0.5),
    ((150, 222, 333), (112, 160, 192), 0.3),
    ((30, 40, 50), (10, 12, 14), 1.0),
]
PATCHES = [(16, 24, 20), (13, 32, 7)]


def windows():
    rows = []
    for shape, patch, step in WINDOWS:
        first = SegmentationNetwork._compute_steps_for_sliding_window(patch, shape, step)
        second = compute_steps_for_sliding_window(shape, patch, step)
        assert [list(s) for s in first] == [list(s) for s in second]
        starts = [[int(start) for start in axis] for axis in first]
        rows.append({"shape": shape, "patch": patch, "step": step, "starts": starts})
    return rows


def gaussians():
    arrays = {}
    for number, patch in enumerate(PATCHES):
        weight = SegmentationNetwork._get_gaussian(patch)
        other = compute_gaussian(
            patch, value_scaling_factor=1, dtype=torch.float32, device=torch.device("cpu")
        )
        assert np.array_equal(weight.astype(np.float32), other.numpy())
        arrays[f"gaussian_{number}"] = weight.astype(np.float32)
    return arrays


def components():
    return {
        f"largest_{name}": remove_all_but_the_largest_connected_component(
            labels.copy(), [classes], 1.0
        )[0]
        for name, (labels, classes) in COMPONENTS.items()
    }


def decision(cases):
    """Run nnU-Net v1's determine_postprocessing on label maps written as files."""
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        (base / "validation_raw").mkdir()
        (base / "gt").mkdir()
        pairs = []
        for number, (reference, prediction) in enumerate(cases):
            files = base / "validation_raw" / f"{number}.nii.gz", base / "gt" / f"{number}.nii.gz"
            for array, file in zip((prediction, reference), files, strict=True):
                sitk.WriteImage(sitk.GetImageFromArray(array), str(file))
            pairs.append([str(file) for file in files])
        classes = sorted({int(v) for reference, _ in cases for v in np.unique(reference)} - {0})
        summary = str(base / "validation_raw" / "summary.json")
        aggregate_scores(pairs, labels=classes, json_output_file=summary, num_threads=1)
        determine_postprocessing(str(base), str(base / "gt"), processes=1)
        found = json.loads((base / "postprocessing.json").read_text())
    return {
        "for_which_classes": found["for_which_classes"],
        "raw": found["dc_per_class_raw"],
        "all": found["dc_per_class_pp_all"],
        "per_class": found["dc_per_class_pp_per_class"],
    }


def round_trip(shape, spacing, *, soft):
    """Bring regions to the network's grid and back; return the Dice of each.

    Each region by itself: as a label (order 1), or `soft`, as an image (order 3), which is what a
    network would give that knows how much of a voxel a region fills. (All labels at once would
    compare how batchgenerators decides where three labels meet, which has changed: until 0.25.1 a
    label needs one half there, in 0.25.5 the largest share wins.)
    """
    labels = blobs(shape)
    new = compute_new_shape(shape, spacing, NETWORK_SPACING)
    way = {"force_separate_z": None, "order_z": 0}
    masks = np.stack([np.isin(labels, ids) for ids in REGIONS.values()])
    there = [
        resample_data_or_seg_to_shape(
            mask[None].astype(np.float32 if soft else np.int16), new, spacing, NETWORK_SPACING,
            is_seg=not soft, order=3 if soft else 1, **way,
        )[0]
        for mask in masks
    ]  # fmt: skip
    back = resample_data_or_seg_to_shape(
        np.stack(there).astype(np.float32),
        shape,
        NETWORK_SPACING,
        spacing,
        is_seg=False,
        order=1,
        **way,
    )
    dice = {}
    for region, mask, scores in zip(REGIONS, masks, back, strict=True):
        found = scores > 0.5
        dice[region] = float(2 * (mask & found).sum() / (mask.sum() + found.sum()))
    return dice


def main():
    np.savez_compressed(HERE / "nnunet_inference.npz", **gaussians(), **components())
    content = {
        "windows": windows(),
        "decisions": {name: decision(cases) for name, cases in DECISIONS.items()},
        "round_trip": {
            name: {
                "hard": round_trip(*grid, soft=False),
                "soft": round_trip(*grid, soft=True),
            }
            for name, grid in RESAMPLED.items()
        },
    }
    (HERE / "nnunet_inference.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
