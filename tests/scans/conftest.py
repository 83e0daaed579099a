"""A tiny untrained model folder, and small valid scans of every kind."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tsfm_pipeline.files import file_digest, write_text
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.training.checkpoint import save_weights

TABLE = LabelTable(
    targets={"spleen": 1, "liver": 5, "liver_tumor": 25},
    regions={"liver": ("liver", "liver_tumor")},
)
PATCH = (16, 16, 16)


def write_model(folder: Path, **changes) -> ModelCard:
    """Write a model folder with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {
        "name": "pretrain.tsfm",
        "network": SIZES["tiny"],
        "in_channels": 1,
        "modalities": ("CT",),
        "regions": ("liver_tumor", "spleen", "liver"),
        "table": TABLE,
        "patch": PATCH,
        "ct_statistics": CtStatistics(lower=-200, upper=300, mean=40, sd=80),
        "target_spacing": (3.0, 2.0, 2.0),
        "settings": TrainingSettings(),
        "training": ("msd_liver/one", "msd_liver/two", "btcv/one"),
        "validation": ("btcv/two",),
        "initial_weights": None,
        "pool_digest": "d1",
    }
    card = ModelCard(**(values | changes))
    torch.manual_seed(0)
    network = TSFM(card.in_channels, len(card.regions), card.network, card.patch)
    save_weights(ModelFolder(folder).weights("best"), network.state_dict())
    ModelFolder(folder).write_card(card)
    return card


def write_rule(folder: Path, regions: tuple[str, ...], weights: str = "best") -> None:
    """Record for a model folder's weights that some regions are reduced to their largest part."""
    rule = PostprocessingRule(
        all_foreground=False,
        regions=regions,
        evidence=(),
        cases=("msd_liver/one", "btcv/one"),
        prediction=InferenceSettings(),
        weights_digest=file_digest(ModelFolder(folder).weights(weights)),
    )
    write_text(ModelFolder(folder).rule(weights), rule.model_dump_json())


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "weights"
    write_model(folder)
    return folder


def body(shape=(14, 18, 20), seed=0) -> sitk.Image:
    """Make a CT-like block in air, in HU, with a direction and an origin of its own."""
    values = np.random.default_rng(seed).normal(40, 30, shape)
    values[:, :3] = -1000
    image = sitk.GetImageFromArray(values.astype(np.int16))
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((-20.0, 15.5, 7.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return image


def write_series(
    folder: Path,
    *,
    slices: int = 6,
    uid: str = "1.2.3.4",
    description: str = "abdomen",
    modality: str = "CT",
    positions: list[float] | None = None,
    shift: float = 0.0,
    size: int = 20,
    **tags: str,
) -> list[Path]:
    """Write a DICOM series, file names against the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    files = []
    depths = positions or [3.0 * number for number in range(slices)]
    for number, depth in enumerate(depths):
        values = rng.normal(40, 30, (1, size, size)).astype(np.int16)
        values[:, :3] = -1000
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((2.0, 2.0, 3.0))
        stated = {
            "0008|0060": modality,
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number + 1}",
            "0020|0011": "7",
            "0020|0052": "1.2.3.5",
            "0018|0050": "3",
            "0008|103e": description,
            "0020|0032": f"-20\\{10 + shift * number}\\{depth}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number),
            "0028|1052": "0",
            "0028|1053": "1",
            **{key.replace("_", "|"): value for key, value in tags.items()},
        }
        for key, value in stated.items():
            image.SetMetaData(key, value)
        path = folder / f"{len(depths) - number:03d}.dcm"
        writer.SetFileName(str(path))
        writer.Execute(image)
        files.append(path)
    return files
