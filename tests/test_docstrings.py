"""Every example in a docstring runs, and prints what stands below it.

Modules with examples are looked for: importing all of them, as pytest's own collection of
docstrings does, takes longer than all examples.
"""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import tsfm_pipeline
from tests.scans.conftest import body, write_model
from tests.store.test_cases import make_record
from tsfm_pipeline.store.case_store import CaseStore

SOURCE = Path(tsfm_pipeline.__file__).parent
MODULES = sorted(
    ".".join(("tsfm_pipeline", *path.relative_to(SOURCE).with_suffix("").parts))
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the examples run in: a scan, a model and a store of one case."""
    folder = tmp_path_factory.mktemp("examples")
    sitk.WriteImage(body(), str(folder / "ct.nii.gz"))
    write_model(folder / "weights")
    record = make_record(dataset="msd_liver", case="liver_0")
    image = np.zeros((record.channels, *record.geometry.shape), np.float32)
    labels = np.zeros(record.geometry.shape, np.uint8)
    CaseStore(folder / "store").write(record, image, labels, {}, np.zeros((0, 1), np.float32))
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_print_what_they_say(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
