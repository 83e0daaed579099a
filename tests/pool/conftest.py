"""A small pool with planted duplicates: real files, prepared as any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import ndimage

from tests.imaging.test_voxel_fingerprint import scan, zoom
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.preparation.pool import prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.btcv import BtcvSource
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.flare22 import Flare22Source
from tsfm_pipeline.sources.kits import KitsSource
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

TABLE = LabelTable(
    targets={"liver": 5, "kidney": 22, "kidney_tumor": 23, "spleen": 1},
    regions={"kidney": ["kidney", "kidney_tumor"]},
)
KIDNEY = {1: "kidney", 2: "kidney_tumor"}
SOURCES = Datasets(
    {
        "btcv": BtcvSource(folder="btcv", labels={1: "liver"}, licence="some", expected_cases=30),
        "kits21": KitsSource(folder="kits21", label_file="aggregated_MAJ_seg", labels=KIDNEY),
        "kits19": KitsSource(folder="kits19", label_file="segmentation", labels=KIDNEY),
        "flare": Flare22Source(folder="flare", labels={1: "liver", 2: "spleen"}),
    }
).root
POOL = PoolSettings(
    datasets=("btcv", "kits21"), downstream=("kits19", "flare"), paper_cases={"btcv": 30}
)
PREPARATION = PreparationSettings(target_spacing=(4.0, 4.0, 4.0))
WORKERS = WorkerSettings(jobs=1)
IDENTITY = np.eye(3)


def write(path: Path, array: np.ndarray, spacing=(2.0, 2.0, 2.0), direction=IDENTITY) -> None:
    """Write (z, y, x) with spacing (z, y, x) and ITK's direction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing[::-1])
    image.SetDirection(np.asarray(direction, float).ravel().tolist())
    sitk.WriteImage(image, str(path))


def label_of(array: np.ndarray) -> np.ndarray:
    label = np.zeros(array.shape, np.uint8)
    label[tuple(slice(size // 3, size // 2) for size in array.shape)] = 1
    return label


def write_btcv(root: Path, number: int, array: np.ndarray) -> None:
    write(root / f"btcv/Training/img/img{number:04d}.nii.gz", array)
    write(root / f"btcv/Training/label/label{number:04d}.nii.gz", label_of(array))


def write_kits(root: Path, dataset: str, number: int, array: np.ndarray) -> None:
    name = {"kits21": "aggregated_MAJ_seg", "kits19": "segmentation"}[dataset]
    write(root / f"{dataset}/data/case_{number:05d}/imaging.nii.gz", array)
    write(root / f"{dataset}/data/case_{number:05d}/{name}.nii.gz", label_of(array))


def write_flare(root: Path, number: int, array: np.ndarray, **grid: Any) -> None:
    write(root / f"flare/images/FLARE22_Tr_{number:04d}_0000.nii.gz", array, **grid)
    write(root / f"flare/labels/FLARE22_Tr_{number:04d}.nii.gz", label_of(array), **grid)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """btcv 1-5 and kits21 0-3; kits19 0, 1 and 9; flare 1-3 from btcv 1-3 under a new name, 4 new.

    flare 1 lies otherwise in its file and has another number type, flare 2 has other voxels,
    flare 3 is scaled to 8 bits and lost a slice.
    """
    root = tmp_path_factory.mktemp("raw")
    scans = {number: scan(number).astype(np.int16) for number in range(20)}
    for number in (1, 2, 3, 4, 5):
        write_btcv(root, number, scans[number])
    for number in (0, 1, 2, 3):
        write_kits(root, "kits21", number, scans[10 + number])
    for number in (0, 1, 9):
        write_kits(root, "kits19", number, scans[10 + number])
    turned = scans[1].transpose(1, 2, 0)[::-1].astype(np.float32)
    write_flare(root, 1, turned, direction=[[0, 1, 0], [0, 0, -1], [1, 0, 0]])
    respaced = zoom(scans[2].astype(float), (1.5, 0.75, 0.75)).round().astype(np.int16)
    write_flare(root, 2, respaced, spacing=(4 / 3, 8 / 3, 8 / 3))
    bytes_ = np.clip((scans[3] + 1000.0) / 1500 * 255, 0, 255).astype(np.uint8)[1:]
    write_flare(root, 3, bytes_)
    write_flare(root, 4, ndimage.gaussian_filter(scans[18], 0.5))
    return root


@pytest.fixture(scope="session")
def prepared(raw: Path, tmp_path_factory) -> tuple[pd.DataFrame, CaseStore]:
    return prepare(raw, CaseStore(tmp_path_factory.mktemp("store")))


def prepare(raw: Path, store: CaseStore) -> tuple[pd.DataFrame, CaseStore]:
    index = build_case_index(SOURCES, list(SOURCES), raw)
    integrity = screen_cases(index, SOURCES, TABLE, store.root / ".screening", WORKERS, False)
    return prepare_pool(index, integrity, SOURCES, TABLE, PREPARATION, WORKERS, store), store


@pytest.fixture
def catalogue(prepared) -> pd.DataFrame:
    return prepared[0].copy()


@pytest.fixture
def make_catalogue() -> Callable[[dict[str, list[str]]], pd.DataFrame]:
    """Make a catalogue of usable cases from the patients of each dataset."""

    def make(patients: dict[str, list[str]]) -> pd.DataFrame:
        rows = [
            {
                "key": f"{dataset}/{number}",
                "dataset": dataset,
                "case": str(number),
                "patient": patient,
                "verdict": "ok",
                "raw_digest": f"raw {dataset} {number}",
                "preparation_digest": "how",
            }
            for dataset, names in patients.items()
            for number, patient in enumerate(names)
        ]
        return pd.DataFrame(rows)

    return make
