"""nnunetv2's export of one array of logits; called by benchmarks/export.py in its environment."""

import json
import re
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def peak_gb() -> float:
    """Return this process's peak memory (ru_maxrss would count that of the one that started it)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


def main() -> None:
    logits_file, labels_file, shape, spacing, file_spacing = sys.argv[1:]
    logits = np.load(logits_file)
    shape, spacing, file_spacing = map(json.loads, (shape, spacing, file_spacing))
    regions = len(logits)
    # As nnU-Net's plans name it, and regions that overlap: each holds all that come after it.
    resample = partial(
        resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=0, force_separate_z=None
    )
    configuration = SimpleNamespace(spacing=spacing, resampling_fn_probabilities=resample)
    plans = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
    labels = {f"region_{n}": tuple(range(n, regions + 1)) for n in range(1, regions + 1)}
    manager = LabelManager({"background": 0, **labels}, list(range(1, regions + 1)))
    properties = {
        "spacing": file_spacing,
        "shape_after_cropping_and_before_resampling": shape,
        "shape_before_cropping": shape,
        "bbox_used_for_cropping": [[0, size] for size in shape],
    }
    start = time.perf_counter()
    found = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, manager, properties
    )
    seconds = time.perf_counter() - start
    np.save(labels_file, found)
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb()}))


if __name__ == "__main__":
    main()
