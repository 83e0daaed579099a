"""Write the fingerprints that planners are compared on: fingerprints.json beside this file.

    python tests/reference/fingerprints.py MultiTalent_bs4_plans_3D.pkl

Needs numpy alone. The pickle is MultiTalent's plan file (github.com/MIC-DKFZ/MultiTalent, commit
0bc7b2c32e, folder MultiTalent_plans, Apache-2.0): it lists spacing and cropped size of every case
of thirteen public CT datasets, seven of which are ours. Where we know no lists, cases are drawn
around the medians that are published (hippocampus, BraTS2020, AMOS22), and some datasets are made
up to reach the rules' corners.
"""

import json
import pickle
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

TASKS = {
    "003": ("msd_liver", 2),
    "006": ("msd_lung", 1),
    "007": ("msd_pancreas", 2),
    "008": ("msd_hepaticvessel", 2),
    "010": ("msd_colon", 1),
    "017": ("btcv", 13),
    "064": ("kits19", 2),
}
"""MultiTalent's task number -> our dataset and its number of labels."""

DRAWN = {
    # modality, channels, labels, cases, median shape, median spacing, scatter (relative) of shape
    # and spacing, share of the volume that the nonzero box keeps
    "hippocampus": ("MR", 1, 2, 260, (36, 50, 35), (1.0, 1.0, 1.0), 0.1, 0.0, 1.0),
    "brats2020": ("MR", 4, 3, 368, (138, 170, 138), (1.0, 1.0, 1.0), 0.06, 0.0, 0.36),
    "amos22_ct": ("CT", 1, 15, 200, (100, 512, 512), (5.0, 0.688, 0.688), 0.3, 0.3, 1.0),
    "amos22_mr": ("MR", 1, 13, 40, (107, 199, 319), (2.0, 1.188, 1.188), 0.2, 0.2, 0.9),
    "breast": ("MR", 1, 1, 100, (120, 896, 896), (1.2, 0.38, 0.38), 0.1, 0.1, 0.95),
    # Made up: slices along x; slices along y and half masked; nearly flat; six small cases.
    "sagittal": ("MR", 1, 1, 60, (320, 300, 24), (0.8, 0.8, 4.4), 0.15, 0.15, 0.8),
    "coronal": ("MR", 2, 4, 34, (256, 90, 240), (0.9, 2.1, 0.95), 0.15, 0.15, 0.5),
    "cardiac": ("MR", 1, 3, 200, (10, 256, 216), (10.0, 1.52, 1.52), 0.25, 0.25, 1.0),
    "few": ("CT", 1, 2, 6, (40, 60, 50), (2.0, 1.5, 1.5), 0.2, 0.2, 1.0),
}


class _NumpyUnpickler(pickle.Unpickler):
    """Loads arrays and dictionaries, and refuses anything else that a pickle can name."""

    ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
        }
    )

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def listed(path: Path) -> dict[str, dict]:
    """Return the fingerprints of the datasets in MultiTalent's plan file."""
    with path.open("rb") as file:
        plan = _NumpyUnpickler(file).load()
    properties = plan["dataset_properties"]
    cases = defaultdict(list)
    for name, size, spacing in zip(
        plan["list_of_npz_files"],
        properties["all_sizes"],
        properties["all_spacings"],
        strict=True,
    ):
        task = name.rpartition("/")[2].partition("_")[0]
        cases[task].append(([int(n) for n in size], [float(mm) for mm in spacing]))
    return {
        dataset: {
            "modalities": ["CT"],
            "channels": 1,
            "classes": classes,
            "shapes": [shape for shape, _ in cases[task]],
            "spacings": [spacing for _, spacing in cases[task]],
            "size_reduction": 1.0,
        }
        for task, (dataset, classes) in TASKS.items()
    }


def drawn() -> dict[str, dict]:
    """Return fingerprints whose cases scatter around given medians."""
    fingerprints = {}
    for seed, (name, row) in enumerate(DRAWN.items()):
        modality, channels, classes, cases, shape, spacing, size_scatter, mm_scatter, kept = row
        rng = np.random.default_rng(seed)
        half = rng.normal(size=(cases // 2, 4))
        scatter = np.concatenate([half, -half])  # so that the medians are the given ones
        shapes = np.rint(shape * np.exp(size_scatter * scatter[:, :3])).astype(int)
        spacings = spacing * np.exp(mm_scatter * scatter[:, 3:])
        fingerprints[name] = {
            "modalities": [modality],
            "channels": channels,
            "classes": classes,
            "shapes": shapes.tolist(),
            "spacings": spacings.round(6).tolist(),
            "size_reduction": kept,
        }
    return fingerprints


if __name__ == "__main__":
    found = listed(Path(sys.argv[1])) | drawn()
    rows = [
        f"{json.dumps(name)}: {json.dumps(content, separators=(',', ':'))}"
        for name, content in found.items()
    ]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
