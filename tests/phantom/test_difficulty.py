"""No intensity window finds a target: neighbours and far-off organs share values."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.phantom.conftest import Phantoms, read

PANCREAS = "Task07_Pancreas"


def best_window_dice(image: NDArray[np.number], target: NDArray[np.bool_]) -> float:
    """Dice of the best interval of values, ends at 64 quantiles of the target's own values."""
    ends = np.unique(np.quantile(image[target], np.linspace(0, 1, 65)))

    def counts(values: NDArray[np.number]) -> NDArray[np.int64]:
        """Values in [ends[i], ends[j]] at [i, j]; none where j < i."""
        values = np.sort(values, axis=None)
        upper, lower = (np.searchsorted(values, ends, side) for side in ("right", "left"))
        return np.maximum(upper[None, :] - lower[:, None], 0)

    return float((2 * counts(image[target]) / (counts(image) + target.sum())).max())


def test_best_window_dice_finds_a_target_of_its_own_value() -> None:
    image = np.random.default_rng(0).normal(size=(20, 20, 20))
    target = np.zeros(image.shape, dtype=bool)
    target[5:9, 5:9, 5:9] = True
    image[target] += 20
    assert best_window_dice(image, target) > 0.9


@pytest.mark.parametrize(
    ("image", "label", "values", "limit"),
    [
        ("Task03_Liver/imagesTr/liver_0", "Task03_Liver/labelsTr/liver_0", (2,), 0.3),
        ("Task06_Lung/imagesTr/lung_001", "Task06_Lung/labelsTr/lung_001", (1,), 0.3),
        (f"{PANCREAS}/imagesTr/pancreas_001", f"{PANCREAS}/labelsTr/pancreas_001", (1, 2), 0.3),
        ("Task10_Colon/imagesTr/colon_001", "Task10_Colon/labelsTr/colon_001", (1,), 0.3),
        ("RawData/Training/img/img0001", "RawData/Training/label/label0001", range(1, 14), 0.3),
        ("amos22/imagesTr/amos_0507", "amos22/labelsTr/amos_0507", range(1, 14), 0.3),
        ("breast/1/P1", "breast/1/GT", (1,), 0.5),
        ("kits19/data/case_00000/imaging", "kits19/data/case_00000/segmentation", (1, 2), 0.55),
    ],
)  # fmt: skip
def test_thresholding_fails(
    phantoms: Phantoms, image: str, label: str, values: tuple[int, ...], limit: float
) -> None:
    voxels = read(phantoms.root / f"{image}.nii.gz")
    labels = read(phantoms.root / f"{label}.nii.gz")
    scores = {v: best_window_dice(voxels, labels == v) for v in values if (labels == v).any()}
    assert len(scores) == len(values)
    assert np.mean(list(scores.values())) < limit, scores
    assert max(scores.values()) < 0.75, scores


def test_thresholding_fails_on_the_brain(phantoms: Phantoms) -> None:
    folder: Path = phantoms.root / "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001"
    labels = read(folder / "BraTS20_Training_001_seg.nii.gz")
    for contrast in ("flair", "t1", "t1ce", "t2"):
        voxels = read(folder / f"BraTS20_Training_001_{contrast}.nii.gz")
        for value in (1, 2, 4):
            assert best_window_dice(voxels, labels == value) < 0.75, (contrast, value)
