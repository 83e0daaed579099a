"""One small set of phantoms of all 13 datasets for the whole session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.layouts import PLANNERS
from tsfm_pipeline.phantom.settings import PhantomSettings

CASES = {**dict.fromkeys(PLANNERS, 2), "amos22": 3}


@dataclass(frozen=True)
class Phantoms:
    root: Path
    settings: PhantomSettings
    manifest: list[dict[str, Any]]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Phantoms:
    root = tmp_path_factory.mktemp("phantoms") / "raw"
    settings = PhantomSettings(seed=7, cases=CASES, spacing_scale=1.15)
    return Phantoms(root, settings, generate_phantoms(settings, root))


def read(path: Path) -> NDArray[Any]:
    """Voxels in the file's own axis order (i, j, k), read by nibabel."""
    return np.asarray(nib.load(path).dataobj)
