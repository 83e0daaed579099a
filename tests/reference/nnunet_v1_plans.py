"""Write nnU-Net v1's own plans of the fingerprints: nnunet_v1_plans.json beside this file.

    python tests/reference/nnunet_v1_plans.py

Runs in the reference environment (tests/reference/README.md; nnunet 1.7.1). Its planner reads a
folder of cropped cases; it gets one with the fingerprint and empty case files, and runs unchanged.
For other amounts of memory the constant that nnU-Net compares its estimate with is scaled.
"""

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np
from nnunet.experiment_planning.experiment_planner_baseline_3DUNet_v21 import (
    ExperimentPlanner3D_v21,
)
from nnunet.network_architecture.generic_UNet import Generic_UNet

HERE = Path(__file__).parent
MEMORY_GB = {
    "8": "all",
    "24": ("msd_liver", "brats2020", "hippocampus", "sagittal", "kits19"),
    "4": ("msd_pancreas", "amos22_ct"),
}
LIMIT = Generic_UNet.use_this_for_batch_size_computation_3D


def plan(fingerprint: dict, memory_gb: float) -> dict:
    """Run nnU-Net v1's default planner on one fingerprint."""
    Generic_UNet.use_this_for_batch_size_computation_3D = LIMIT * (memory_gb / 8)
    cases = [f"case_{number:04d}" for number in range(len(fingerprint["shapes"]))]
    properties = {
        "all_sizes": [tuple(shape) for shape in fingerprint["shapes"]],
        "all_spacings": [np.array(spacing) for spacing in fingerprint["spacings"]],
        "all_classes": list(range(1, fingerprint["classes"] + 1)),
        "modalities": {c: fingerprint["modalities"][0] for c in range(fingerprint["channels"])},
        "intensityproperties": None,
        "size_reductions": dict.fromkeys(cases, fingerprint["size_reduction"]),
    }
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            (Path(folder) / f"{case}.npz").touch()
            (Path(folder) / f"{case}.pkl").write_bytes(pickle.dumps({}))
        (Path(folder) / "dataset_properties.pkl").write_bytes(pickle.dumps(properties))
        planner = ExperimentPlanner3D_v21(folder, folder)
        planner.plan_experiment()
    return planner.plans


def plain(plans: dict) -> dict:
    """Keep what our plan states, as JSON."""
    stages = list(plans["plans_per_stage"].values())
    return {
        "transpose_forward": [int(axis) for axis in plans["transpose_forward"]],
        "normalization_schemes": plans["normalization_schemes"][0],
        "use_mask_for_norm": bool(plans["use_mask_for_norm"][0]),
        "stages": [
            {
                "batch_size": int(stage["batch_size"]),
                "num_pool_per_axis": np.array(stage["num_pool_per_axis"]).tolist(),
                "patch_size": np.array(stage["patch_size"]).tolist(),
                "median_patient_size_in_voxels": stage["median_patient_size_in_voxels"].tolist(),
                "current_spacing": stage["current_spacing"].tolist(),
                "original_spacing": stage["original_spacing"].tolist(),
                "do_dummy_2D_data_aug": bool(stage["do_dummy_2D_data_aug"]),
                "pool_op_kernel_sizes": np.array(stage["pool_op_kernel_sizes"]).tolist(),
                "conv_kernel_sizes": np.array(stage["conv_kernel_sizes"]).tolist(),
            }
            for stage in stages
        ],
    }


if __name__ == "__main__":
    fingerprints = json.loads((HERE / "fingerprints.json").read_text())
    result = {
        memory: {
            name: plain(plan(fingerprint, float(memory)))
            for name, fingerprint in fingerprints.items()
            if names == "all" or name in names
        }
        for memory, names in MEMORY_GB.items()
    }
    rows = [
        f" {json.dumps(memory)}: {{\n"
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in plans.items())
        + "\n }"
        for memory, plans in result.items()
    ]
    (HERE / "nnunet_v1_plans.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
