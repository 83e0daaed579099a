"""Write what nnU-Net makes of small volumes: nnunet_preparation.npz and .json beside this file.

    python tests/reference/nnunet_preparation.py

Runs in the reference environment (tests/reference/README.md; nnunet 1.7.1, nnunetv2 2.8.1 and,
because it is what resizes their labels, batchgenerators 0.25.1: 0.25.5 has another rule). Arrays
are nnU-Net v1's, made by its own functions and classes; the JSON holds the small results, and under
`v2_difference` how far nnunetv2 is from v1 on the same input.
"""

import hashlib
import json
import pickle
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from nnunet.experiment_planning.DatasetAnalyzer import DatasetAnalyzer
from nnunet.preprocessing.cropping import crop_to_nonzero
from nnunet.preprocessing.preprocessing import (
    GenericPreprocessor,
    get_do_separate_z,
    get_lowres_axis,
    resample_patient,
)
from nnunet.training.network_training.nnUNetTrainerV2 import nnUNetTrainerV2
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero as crop_to_nonzero_v2
from nnunetv2.preprocessing.normalization.default_normalization_schemes import (
    CTNormalization,
    ZScoreNormalization,
)
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.utilities.crossval_split import generate_crossval_split
from scipy import ndimage

HERE = Path(__file__).parent

SPACINGS = {
    # file -> target, mm (z, y, x)
    "finer": ((1.5, 1.2, 1.3), (1.0, 1.0, 1.0)),
    "coarser": ((1.0, 1.0, 1.0), (1.3, 1.2, 1.25)),
    "finer_and_coarser": ((2.0, 0.8, 0.8), (1.25, 1.0, 1.0)),
    "separate_z_finer": ((4.0, 1.0, 1.0), (2.5, 0.9, 0.8)),
    "separate_z_coarser": ((3.2, 1.0, 0.9), (5.0, 1.3, 1.2)),
    "separate_y": ((1.0, 3.7, 1.1), (1.2, 2.0, 1.0)),
    "separate_x": ((1.0, 1.1, 4.0), (0.8, 1.4, 3.0)),
    "separate_by_target": ((1.0, 1.0, 1.0), (3.5, 1.1, 0.9)),
    "tie_of_the_coarsest": ((4.0, 4.0, 1.0), (2.7, 2.7, 1.2)),
    "exactly_three": ((3.0, 1.0, 1.0), (2.0, 1.1, 0.9)),
}
RULES = [
    *SPACINGS.values(),
    ((5.0, 5.0, 1.0), (9.0, 1.0, 1.0)),
    ((1.0, 1.0, 1.0), (4.0, 4.0, 1.0)),
    ((0.24, 1.25, 1.25), (1.0, 1.0, 1.0)),
    ((5.0, 1.0, 1.0), (1.0, 1.0, 9.0)),
    ((1.0, 1.0, 3.0000001), (1.0, 1.0, 1.0)),
    ((2.0, 2.0, 2.0), (6.1, 2.0, 2.0)),
    ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0)),
]
CASES = {
    # modality, channels, rim of zeros (voxels), file spacing, target spacing
    "ct": ("CT", 1, 0, (2.0, 0.9, 0.9), (1.5, 1.0, 1.0)),
    "ct_separate_z": ("CT", 1, 1, (5.0, 0.9, 0.8), (1.5, 1.0, 1.0)),
    "mr": ("MRI", 2, 0, (1.2, 1.0, 1.0), (1.0, 1.1, 1.0)),
    "mr_masked": ("MRI", 2, 3, (1.2, 1.0, 1.0), (1.0, 1.1, 1.0)),
}
NAMES = [f"case_{number:03d}" for number in range(131)]


def smooth(shape, seed: int, sigma: float = 1.5):
    """Draw smooth noise of standard deviation 1."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    return noise / noise.std()


def case(channels: int, rim: int, seed: int):
    """Make an image of whole numbers, zero outside a ragged body, and five labels with specks."""
    shape = (12, 18, 16)
    body = np.zeros(shape, bool)
    inner = tuple(slice(rim, side - rim) for side in shape)
    body[inner] = smooth(shape, seed + 1)[inner] > -1.2 if rim else True
    image = np.stack([np.rint(smooth(shape, seed + 2 + c) * 200 + 40) for c in range(channels)])
    image[:, ~body] = 0
    image[0, 6, 9, 8] = 0  # a hole
    labels = np.digitize(smooth(shape, seed + 9), (0.3, 0.7, 1.1, 1.5, 1.9)).astype(np.float32)
    labels[np.random.default_rng(seed).random(shape) < 0.02] = 4
    labels[~body] = 0
    return image.astype(np.float32), labels[None]


def locations_labels():
    """Return labels of 1.1 million, 10,000 and 200 voxels: one a class of the counting rule."""
    labels = np.zeros((112, 100, 100), np.float32)
    labels[:110] = 1
    labels[110] = 2
    labels[111, :2] = 3
    return labels[None]


def write_cropped(folder: Path, name: str, image, labels, spacing):
    """Write a case as nnU-Net v1's ImageCropper leaves it; return its box."""
    whole = image.shape[1:]
    image, labels, box = crop_to_nonzero(image.copy(), labels.copy())
    np.savez(folder / f"{name}.npz", data=np.vstack((image, labels)))
    properties = {
        "original_spacing": np.array(spacing),
        "size_after_cropping": image.shape[1:],
        "original_size_of_raw_data": np.array(whole),
    }
    (folder / f"{name}.pkl").write_bytes(pickle.dumps(properties))
    return box


def prepared(image, labels, spacing, target, modality: str):
    """Run v1's analysis and preprocessing on a data set of one case."""
    channels = len(image)
    classes = {str(int(value)): str(value) for value in np.unique(labels)}
    dataset = {"labels": classes, "modality": {str(c): modality for c in range(channels)}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        box = write_cropped(folder, "case", image, labels, spacing)
        (folder / "dataset.json").write_text(json.dumps(dataset))
        found = DatasetAnalyzer(str(folder), True, 1).analyze_dataset(modality == "CT")
        reduction = found["size_reductions"]["case"]
        # ExperimentPlanner.determine_whether_to_use_mask_for_norm
        masked = modality != "CT" and reduction < 3 / 4
        scheme = "CT" if modality == "CT" else "nonCT"
        preprocessor = GenericPreprocessor(
            dict.fromkeys(range(channels), scheme),
            dict.fromkeys(range(channels), masked),
            [0, 1, 2],
            found["intensityproperties"],
        )
        out = folder / "out"
        out.mkdir()
        preprocessor._run_internal(
            np.array(target), "case", str(out), str(folder), None, found["all_classes"]
        )
        data = np.load(out / "case.npz")["data"]
        locations = pickle.loads((out / "case.pkl").read_bytes())["class_locations"]
    return data[:-1], data[-1].astype(np.int8), locations, found["intensityproperties"], box


def half_way(seg, spacing, target):
    """Return where some label's score is one half but for rounding: there either side is right."""
    scores = np.concatenate([seg == value for value in np.unique(seg)]).astype(float)
    resampled, _ = resample_patient(
        scores, None, np.array(spacing), np.array(target), 1, force_separate_z=None
    )
    return (np.abs(resampled - 0.5) < 1e-9).any(axis=0)


def digest(points) -> str:
    """Digest voxel indices whatever their integer type."""
    return hashlib.sha256(np.asarray(points, np.int32).tobytes()).hexdigest()


def split(names, folder: Path):
    """Return v1's validation cases of each fold."""
    trainer = nnUNetTrainerV2.__new__(nnUNetTrainerV2)
    trainer.fold, trainer.dataset_directory = 0, str(folder)
    trainer.dataset = OrderedDict((name, {}) for name in names)
    trainer.print_to_log_file = print
    trainer.do_split()
    folds = pickle.loads((folder / "splits_final.pkl").read_bytes())
    return [[str(name) for name in fold["val"]] for fold in folds]


def separate_axis(spacing, target):
    """Return v1's separate axis; the rule stands inside resample_patient, and is retold here."""
    for mm in (spacing, target):
        if get_do_separate_z(np.array(mm)):
            axis = get_lowres_axis(np.array(mm))
            return int(axis[0]) if len(axis) == 1 else None
    return None


def farthest(ours, theirs) -> float:
    """Return the largest absolute difference."""
    return float(np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max())


def resampling(arrays, small, v2) -> None:
    """Resample one image and its labels between all pairs of spacings."""
    image, labels = case(1, 1, seed=20)
    seg = np.where((labels == 0) & (image == 0), -1, labels).astype(np.float32)
    arrays["resample_image"], arrays["resample_labels"] = image, seg[0].astype(np.int8)
    for name, (spacing, target) in SPACINGS.items():
        data, found = resample_patient(
            image, seg, np.array(spacing), np.array(target), 3, 1, force_separate_z=None
        )
        arrays[f"{name}_image"], arrays[f"{name}_labels"] = data, found[0].astype(np.int8)
        arrays[f"{name}_half_way"] = half_way(seg, spacing, target)
        new_shape = compute_new_shape(image.shape[1:], spacing, target)
        for kind, source, mine, order in (("image", image, data, 3), ("labels", seg, found, 1)):
            theirs = resample_data_or_seg_to_shape(
                source, new_shape, spacing, target, kind == "labels", order, 0, None
            )
            v2[kind] = max(v2[kind], farthest(mine, theirs))
    small["rules"] = [[a, b, separate_axis(a, b)] for a, b in RULES]
    for a, b, axis in small["rules"]:
        apart, theirs = determine_do_sep_z_and_axis(None, a, b)
        if (theirs if apart else None) != axis:
            raise SystemExit(f"v1 and v2 choose another axis: {a} to {b}")


def whole_cases(arrays, small, v2) -> None:
    """Prepare whole cases: crop, resample, normalise, draw locations."""
    for seed, (name, (modality, channels, rim, spacing, target)) in enumerate(CASES.items()):
        image, labels = case(channels, rim, 40 * seed)
        arrays[f"{name}_raw_image"], arrays[f"{name}_raw_labels"] = image, labels[0].astype("i1")
        cropped, cropped_labels, box = crop_to_nonzero(image.copy(), labels.copy())
        theirs = crop_to_nonzero_v2(image.copy(), labels.copy())
        v2["crop"] = max(v2["crop"], farthest(cropped, theirs[0]))
        v2["crop"] = max(v2["crop"], farthest(cropped_labels, theirs[1]), farthest(box, theirs[2]))
        arrays[f"{name}_cropped_labels"] = cropped_labels[0].astype(np.int8)
        data, found, locations, statistics, box = prepared(image, labels, spacing, target, modality)
        arrays[f"{name}_image"], arrays[f"{name}_labels"] = data, found
        row = {"modality": modality, "spacing": spacing, "target": target, "box": np.array(box)}
        row["locations"] = {label: digest(points) for label, points in locations.items()}
        if modality == "CT":
            keys = ("mean", "sd", "percentile_00_5", "percentile_99_5")
            row["statistics"] = [float(statistics[0][key]) for key in keys]
            scheme = dict(statistics[0], std=statistics[0]["sd"])
            theirs = CTNormalization(False, scheme).run(cropped[0].copy())
            clipped = np.clip(cropped[0], row["statistics"][2], row["statistics"][3])
            mine = (clipped - row["statistics"][0]) / row["statistics"][1]
            v2["ct"] = max(v2["ct"], farthest(mine, theirs))
        else:
            mine = (cropped[0] - cropped[0].mean()) / (cropped[0].std() + 1e-8)
            theirs = ZScoreNormalization(False, {}).run(cropped[0].copy())
            v2["z-score"] = max(v2["z-score"], farthest(mine, theirs))
        small["cases"][name] = row


def counting_rule(small) -> None:
    """Draw locations of classes of very different size."""
    labels = locations_labels()
    image = np.ones_like(labels)
    image[0, 0] = 2.0
    locations = prepared(image, labels, (1, 1, 1), (1, 1, 1), "MRI")[2]
    small["locations"] = {label: [len(found), digest(found)] for label, found in locations.items()}


def splits(small, v2) -> None:
    """Split data sets of several sizes."""
    for count in (5, 13, 131):
        with tempfile.TemporaryDirectory() as folder:
            folds = split(NAMES[:count][::-1], Path(folder))
        theirs = [fold["val"] for fold in generate_crossval_split(NAMES[:count])]
        v2["split"] = max(v2["split"], float(folds != [[*map(str, fold)] for fold in theirs]))
        small["splits"][count] = [[int(name[5:]) for name in fold] for fold in folds]


def main() -> None:
    """Make all references."""
    arrays: dict[str, np.ndarray] = {}
    v2 = dict.fromkeys(("crop", "image", "labels", "ct", "z-score", "split"), 0.0)
    small = {"spacings": SPACINGS, "cases": {}, "splits": {}, "v2_difference": v2}
    resampling(arrays, small, v2)
    whole_cases(arrays, small, v2)
    counting_rule(small)
    splits(small, v2)
    np.savez_compressed(HERE / "nnunet_preparation.npz", **arrays)
    text = json.dumps(small, default=lambda value: value.tolist())
    (HERE / "nnunet_preparation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
