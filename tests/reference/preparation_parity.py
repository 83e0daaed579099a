"""Compare our preparation with what nnU-Net v1 made of the same volumes; print the table.

    python -m tests.reference.preparation_parity

The references are made by tests/reference/nnunet_preparation.py; tests/preparation/test_parity.py
holds the limits.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.intensity import ct_statistics, normalise_ct
from tsfm_pipeline.imaging.resampling import (
    resample_image,
    resample_labels,
    resampled_shape,
    separate_axis,
)
from tsfm_pipeline.imaging.volume import ImageVolume
from tsfm_pipeline.pool.settings import SplitSettings
from tsfm_pipeline.pool.splits import assign_folds
from tsfm_pipeline.preparation.prepare import crop_case, foreground_locations, prepare_image
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.source import Modality

HERE = Path(__file__).parent
SEED = 1234
"""nnU-Net's, of the drawn locations."""


class Difference(NamedTuple):
    """How far we are from nnU-Net v1 in one thing; the worst over its inputs.

    Attributes:
        what: the step, with nnU-Net's name of it.
        worst: largest absolute difference, or number of things that differ.
        unit: of `worst`.
        compared: number of values compared.
        limit: what `worst` may be.
    """

    what: str
    worst: float
    unit: str
    compared: int
    limit: float


def differences() -> Iterator[Difference]:
    """Compare everything."""
    yield from (_cropping(), _separate_axes())
    yield from _resampling()
    yield from _whole_cases()
    yield from (_locations(), _splits())


@cache
def _small() -> dict[str, Any]:
    return dict(json.loads((HERE / "nnunet_preparation.json").read_text()))


@cache
def _arrays() -> dict[str, NDArray]:
    with np.load(HERE / "nnunet_preparation.npz") as file:
        return {name: file[name] for name in file.files}


def _labels(name: str) -> NDArray[np.uint8]:
    """Return a label map of nnU-Net's with our number for outside."""
    return _arrays()[name].astype(np.uint8)  # -1 becomes 255, our OUTSIDE


def _farthest(ours: ArrayLike, theirs: ArrayLike) -> float:
    return float(np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).max())


def _cropping() -> Difference:
    wrong = compared = 0
    for name, row in _small()["cases"].items():
        cropped = crop_case(_volume(name, row), _labels(f"{name}_raw_labels"))
        ends = np.add(cropped.lower, cropped.geometry.shape)
        wrong += int((np.stack([cropped.lower, ends], axis=1) != row["box"]).sum())
        theirs_ZYX = _labels(f"{name}_cropped_labels")
        wrong += int((cropped.labels_ZYX != theirs_ZYX).sum())
        compared += theirs_ZYX.size
    return Difference("box and mask (crop_to_nonzero)", wrong, "voxels", compared, 0)


def _separate_axes() -> Difference:
    rules = _small()["rules"]
    wrong = sum(separate_axis(tuple(a), tuple(b)) != axis for a, b, axis in rules)
    return Difference("separate axis (get_do_separate_z, ties)", wrong, "rules", len(rules), 0)


def _resampling() -> Iterator[Difference]:
    image_CZYX, labels_ZYX = _arrays()["resample_image"], _labels("resample_labels")
    ties = ties_apart = 0
    for name, (spacing, target) in _small()["spacings"].items():
        new_shape = resampled_shape(labels_ZYX.shape, spacing, target)
        ours = resample_image(image_CZYX, new_shape, tuple(spacing), tuple(target))
        theirs = _arrays()[f"{name}_image"]
        worst = _farthest(ours, theirs)
        what = f"image, {name.replace('_', ' ')} (resample_patient)"
        yield Difference(what, worst, "HU", theirs.size, 1e-3)
        found = resample_labels(labels_ZYX, new_shape, tuple(spacing), tuple(target))
        # Where a score is one half by construction, the last bit of a sum decides.
        half_way = _arrays()[f"{name}_half_way"]
        apart = found != _labels(f"{name}_labels")
        wrong, compared = int(apart[~half_way].sum()), int((~half_way).sum())
        yield Difference(what.replace("image", "labels"), wrong, "voxels", compared, 0)
        ties += int(half_way.sum())
        ties_apart += int(apart[half_way].sum())
    what = "labels, the voxels left out above: a score of exactly one half"
    yield Difference(what, ties_apart, "voxels", ties, 0.01 * ties)


def _volume(name: str, row: dict[str, Any]) -> ImageVolume:
    image_CZYX = _arrays()[f"{name}_raw_image"]
    _, z, y, x = image_CZYX.shape
    grid = Geometry(
        shape=(z, y, x),
        spacing=tuple(row["spacing"]),
        origin=(0.0, 0.0, 0.0),
        direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    )
    return ImageVolume(image_CZYX, grid, grid, Reorientation((0, 1, 2), (False, False, False)))


def _whole_cases() -> Iterator[Difference]:
    """Crop, resample, normalise: the whole of GenericPreprocessor."""
    for name, row in _small()["cases"].items():
        settings = PreparationSettings(target_spacing=tuple(row["target"]))
        modality: Modality = "CT" if name.startswith("ct") else "MR"
        raw_ZYX = _labels(f"{name}_raw_labels")
        prepared = prepare_image(_volume(name, row), modality, settings, raw_ZYX)
        image_CZYX = prepared.image_CZYX
        whole = f"{name.replace('_', ' ')} case"
        if "statistics" in row:
            statistics = ct_statistics([prepared.intensities])
            ours = (statistics.mean, statistics.sd, statistics.lower, statistics.upper)
            worst = _farthest(ours, row["statistics"])
            yield Difference(f"{whole}: statistics (DatasetAnalyzer)", worst, "HU", 4, 1e-3)
            image_CZYX = normalise_ct(image_CZYX, statistics)
        theirs = _arrays()[f"{name}_image"]
        worst = _farthest(image_CZYX, theirs)
        yield Difference(f"{whole}: normalised image", worst, "sd", theirs.size, 2e-5)
        wrong = int((prepared.labels_ZYX != _labels(f"{name}_labels")).sum())
        yield Difference(f"{whole}: labels", wrong, "voxels", prepared.labels_ZYX.size, 0)
        targets = tuple(int(label) for label in row["locations"])
        drawn = foreground_locations(prepared.labels_ZYX, targets, SEED)
        wrong = sum(_digest(drawn[int(t)]) != digest for t, digest in row["locations"].items())
        yield Difference(f"{whole}: class locations", wrong, "classes", len(targets), 0)


def _locations() -> Difference:
    labels_ZYX = np.zeros((112, 100, 100), np.uint8)
    labels_ZYX[:110] = 1
    labels_ZYX[110] = 2
    labels_ZYX[111, :2] = 3
    theirs = _small()["locations"]
    drawn = foreground_locations(labels_ZYX, tuple(int(label) for label in theirs), SEED)
    ours = {label: [len(drawn[int(label)]), _digest(drawn[int(label)])] for label in theirs}
    wrong = sum(ours[label] != theirs[label] for label in theirs)
    return Difference("class locations of 1.1 million voxels", wrong, "classes", len(theirs), 0)


def _splits() -> Difference:
    wrong = compared = 0
    for count, folds in _small()["splits"].items():
        names = [f"case_{number:03d}" for number in range(int(count))]
        ours = assign_folds(names, SplitSettings())
        for fold, numbers in enumerate(folds):
            held_out = {number for number, name in enumerate(names) if ours[name] == fold}
            wrong += len(held_out.symmetric_difference(numbers))
            compared += len(numbers)
    return Difference("split, 5 folds (do_split)", wrong, "cases", compared, 0)


def _digest(points: NDArray) -> str:
    return hashlib.sha256(points.astype(np.int32).tobytes()).hexdigest()


def main(show: Callable[[str], object] = print) -> None:
    """Print the table."""
    show("| step (nnU-Net v1.7.1) | largest difference | of |\n|---|---|---|")
    for row in differences():
        worst = f"{row.worst:.1e}" if row.unit in ("HU", "sd") else f"{row.worst:.0f}"
        show(f"| {row.what} | {worst} {row.unit} | {row.compared:,} |")


if __name__ == "__main__":
    main()
