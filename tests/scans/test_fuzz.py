"""Damaged scans: each gets a verdict, none a crash, a hang or a gigabyte."""

import resource
from pathlib import Path

import pandas as pd
import SimpleITK as sitk

from tests.scans.conftest import body
from tests.scans.damage import damaged_files
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.settings import PredictSettings

COUNT = 200


def test_each_of_200_damaged_scans_gets_a_verdict(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    damaged = damaged_files(source, COUNT)
    sitk.WriteImage(body(), str(source / "whole.nii.gz"))
    summary = predict_folder(source, output, model, PredictSettings(preview=False, modality="CT"))

    problems = pd.read_csv(output / "problems.csv", keep_default_na=False)
    assert (problems[["file", "reason", "remedy"]] != "").all(axis=None)
    assert not problems["reason"].str.contains("Traceback").any()
    finished = {record.stem for record in output.glob("*.json")}
    assert finished == set(summary.segmented)
    assert "whole" in finished
    for path in damaged:
        named = problems["file"].str.contains(f"/{path.relative_to(source).parts[0]}", regex=False)
        segmented = any(name.startswith(path.relative_to(source).parts[0]) for name in finished)
        assert named.any() or segmented, path
    for name in finished:
        sitk.ReadImage(str(output / f"{name}.nii.gz"))
    # ru_maxrss counts kB; the reader's libraries take 0.5 GB, and 2 cubic metres of scan 2.5 GB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20
