"""What the options of `tsfm-predict` write and print."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from tests.scans.conftest import body, write_model, write_series
from tests.scans.thresholds import threshold_model
from tsfm_pipeline import __version__
from tsfm_pipeline.files import write_text
from tsfm_pipeline.phantom.ownership import MARKER
from tsfm_pipeline.scans import run
from tsfm_pipeline.scans.__main__ import main
from tsfm_pipeline.scans.ensemble import Ensemble


@pytest.fixture
def scan(tmp_path):
    """A file with a liver of 6x6x4 voxels and a tumour of 2x2x2 in it, for `threshold_model`."""
    values = sitk.GetArrayFromImage(body())
    values[5:9, 8:14, 6:12] = 400
    values[6:8, 10:12, 8:10] = 800
    image = sitk.GetImageFromArray(values)
    image.CopyInformation(body())
    (tmp_path / "in").mkdir()
    sitk.WriteImage(image, str(tmp_path / "in" / "ct.nii.gz"))
    return tmp_path / "in" / "ct.nii.gz"


@pytest.fixture
def oracle(tmp_path, monkeypatch):
    """A folder of the model that segments `scan` rightly, as the command opens it."""
    opened = threshold_model(tmp_path / "oracle")
    monkeypatch.setattr(run, "open_models", lambda *_: Ensemble((opened,)))
    return tmp_path / "oracle"


def call(scan, output, model, *options):
    return main(["-i", str(scan), "-o", str(output), "-m", str(model), "--no-preview", *options])


def voxels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_a_mask_per_target_holds_what_lies_in_it(scan, oracle, tmp_path):
    out = tmp_path / "out"
    assert call(scan, out, oracle, "--per-target", "--targets", "liver", "liver_tumor") == 0
    labels = voxels(out / "ct.nii.gz")
    assert sorted(path.name for path in (out / "ct_targets").iterdir()) == [
        *("liver.nii.gz", "liver_tumor.nii.gz"),
    ]
    np.testing.assert_array_equal(voxels(out / "ct_targets/liver.nii.gz"), np.isin(labels, (5, 25)))
    np.testing.assert_array_equal(voxels(out / "ct_targets/liver_tumor.nii.gz"), labels == 25)
    mask, image = sitk.ReadImage(str(out / "ct_targets/liver.nii.gz")), sitk.ReadImage(str(scan))
    assert mask.GetDirection() == image.GetDirection()
    assert mask.GetOrigin() == image.GetOrigin()
    # what is no longer asked for does not stay beside a new segmentation
    assert call(scan, out, oracle, "--targets", "liver") == 0
    assert not (out / "ct_targets").exists()


def test_folders_of_others_keep_their_files(scan, oracle, tmp_path, capsys):
    out = tmp_path / "out"
    for name in ("ct", "ct_targets"):
        (out / name).mkdir(parents=True)
        (out / name / "mine.nii.gz").write_bytes(b"years of work")
    assert call(scan, out, oracle, "--per-target") == 2
    assert "ct_targets is there already" in capsys.readouterr().err
    assert call(scan, out, oracle, "--per-target", "--overwrite") == 0
    assert (out / "ct_targets" / "liver.nii.gz").exists()
    for name in ("ct", "ct_targets"):
        assert (out / name / "mine.nii.gz").read_bytes() == b"years of work"


def test_probabilities_explain_the_labels(scan, oracle, tmp_path):
    out = tmp_path / "out"
    assert call(scan, out, oracle, "--probabilities") == 0
    labels = voxels(out / "ct.nii.gz")
    liver = voxels(out / "ct_targets/liver_probability.nii.gz")
    np.testing.assert_array_equal(liver > 0.5, np.isin(labels, (5, 25)))
    assert liver.dtype == np.float32
    assert call(scan, out, oracle, "--probabilities") == 0
    (out / "ct_targets/spleen_probability.nii.gz").unlink()
    assert call(scan, out, oracle, "--probabilities") == 0
    assert (out / "ct_targets/spleen_probability.nii.gz").exists()


def test_statistics_are_a_table_and_json(scan, oracle, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(scan, out, oracle, "--statistics", "--json", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    (liver,) = [row for row in json.loads(said.out)["scans"]["ct"]["targets"] if row["label"] == 5]
    table = pd.read_csv(out / "statistics.csv").set_index("target")
    expected = [400] * 136 + [800] * 8
    assert liver["includes"] == "liver_tumor"
    assert liver["voxels"] == len(expected)
    for name, value in {
        "mean_intensity": np.mean(expected),
        "sd_intensity": np.std(expected),
        "p5_intensity": 400,
        "p95_intensity": np.percentile(expected, 95),
        "volume_ml": 144 * 2 * 2.5 * 3 / 1000,
    }.items():
        assert liver[name] == pytest.approx(value, abs=0.01)
        assert table.loc["liver", name] == pytest.approx(value, abs=0.01)


def test_quiet_prints_problems_only(scan, oracle, tmp_path, capsys):
    (scan.parent / "broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    assert call(scan.parent, tmp_path / "out", oracle, "--quiet") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "broken.nii.gz" in said.err


def test_where_nothing_was_segmented_no_place_is_named(scan, oracle, tmp_path, capsys):
    scan.write_bytes(b"\x1f\x8bnothing")
    assert call(scan, tmp_path / "liver.nii.gz", oracle) == 1
    assert capsys.readouterr().out == "0 segmented, 0 finished before, 1 failed, 0 skipped\n"


def test_one_scan_may_be_written_to_a_file(scan, oracle, tmp_path, capsys):
    output = tmp_path / "results" / "liver.nii.gz"
    assert call(scan, output, oracle) == 0
    assert sorted(path.name for path in output.parent.iterdir()) == ["liver.json", "liver.nii.gz"]
    assert (voxels(output) == 25).sum() == 8
    assert call(scan, output, oracle) == 0
    said = capsys.readouterr().out
    assert "0 segmented, 1 finished before, 0 failed, 0 skipped; results in" in said


def test_a_file_for_no_single_scan_is_refused(scan, oracle, tmp_path, capsys):
    assert call(scan.parent, scan.parent / "liver.nii.gz", oracle) == 2
    assert "among the scans" in capsys.readouterr().err
    assert call(scan, tmp_path / "liver.mha", oracle) == 2
    assert "written as .nii.gz" in capsys.readouterr().err
    assert call(scan, scan, oracle, "--overwrite") == 2
    assert "among the scans" in capsys.readouterr().err
    sitk.WriteImage(body(), str(scan.parent / "second.nii.gz"))
    assert call(scan.parent, tmp_path / "other.nii.gz", oracle) == 2
    assert "is one file, and the input holds 2 scans" in capsys.readouterr().err


def test_several_models_are_averaged(scan, tmp_path, capsys):
    folders = [tmp_path / "fold_0", tmp_path / "fold_1"]
    for folder in folders:
        write_model(folder)
    given = ["-i", str(scan), "-o", str(tmp_path / "out"), "--no-preview", "-m"]
    assert main([*given, *map(str, folders)]) == 0
    assert "the mean of 2 models" in capsys.readouterr().err
    write_model(folders[1], target_spacing=(1.0, 1.0, 1.0))
    assert main([*given, *map(str, folders)]) == 2
    assert "can't be averaged: their spacing" in capsys.readouterr().err


def test_a_mask_beside_dicom_slices_is_no_scan(oracle, tmp_path):
    source = tmp_path / "ct"
    write_series(source)
    mask = np.zeros((6, 20, 20), np.uint8)
    mask[2:4, 5:9, 5:9] = 1
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(source / "mask.nii.gz"))
    sitk.WriteImage(body(), str(source / "converted.nii.gz"))  # a scan, whatever lies beside it
    out = tmp_path / "out"
    assert call(source, out, oracle) == 0
    assert set(pd.read_csv(out / "volumes.csv")["scan"]) == {"ct", "converted"}
    (row,) = pd.read_csv(out / "problems.csv").to_dict("records")
    assert (row["scan"], row["verdict"]) == ("mask", "skipped")
    assert "label map beside DICOM slices" in row["reason"]


def test_a_model_of_phantoms_says_so_before_a_patient(scan, tmp_path, capsys):
    write_model(tmp_path / "model", synthetic=True)
    assert call(scan, tmp_path / "out", tmp_path / "model", "--quiet") == 0
    assert "synthetic phantoms and has never seen a patient" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert "means nothing" in record["warnings"][0]
    assert "synthetic phantoms of btcv (1), msd_liver (2)" in record["model"]
    write_text(scan.parent / MARKER, "{}")  # now it is one of the generator's
    assert call(scan, tmp_path / "again", tmp_path / "model", "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_cancelled_job_ends_as_an_interrupted_one(scan, oracle, tmp_path):
    code = (
        "import os, signal, sys; from tsfm_pipeline.scans import __main__, run\n"
        "run.open_models = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(__main__.main(sys.argv[1:]))"
    )
    given = ["-i", str(scan), "-o", str(tmp_path / "out"), "-m", str(oracle)]
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "tsfm-predict: stopped; finished scans are kept, the same command goes on"
    ]  # and no line of a leaked semaphore


def test_version_and_help_load_no_heavy_library():
    code = (
        "import sys; from tsfm_pipeline.scans.__main__ import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'SimpleITK', 'pandas', 'numpy', 'pydantic', 'nibabel', 'jinja2')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    for option, said in (("--version", __version__), ("--help", "--per-target")):
        done = subprocess.run(
            [sys.executable, "-c", code, option], capture_output=True, text=True, check=True
        )
        assert said in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"
