"""Damaged scans: each gets a verdict, the same by both ways in; no crash, no hang, no gigabyte."""

import resource
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK as sitk

from tests.scans.both_ways import Verdicts, all_verdicts
from tests.scans.conftest import body
from tests.scans.damage import COUNT, damaged_files
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.settings import PredictSettings

SAMPLE = 60
SECONDS = 5.0
"""Of computing for one file and one way in."""
KILOBYTES = 1 << 20


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, model: Path) -> dict[str, Verdicts]:
    return all_verdicts(tmp_path_factory.mktemp("damaged"), COUNT, ModelFolder(model).card)


def test_both_ways_in_give_the_same_verdict(verdicts) -> None:
    assert len(verdicts) > 300  # the others are DICOM, which no pool takes
    differing = {
        name: (found.pool, found.predict)
        for name, found in verdicts.items()
        if bool(found.pool) != bool(found.predict)
    }
    assert not differing


def test_a_refusal_names_file_and_remedy(verdicts) -> None:
    for name, found in verdicts.items():
        for said in filter(None, (found.pool, found.predict)):
            assert ";" in said, (name, said)
            assert "Traceback" not in said
        assert not found.pool or name in found.pool


def test_time_and_memory_are_bounded(verdicts) -> None:
    slowest = max(verdicts, key=lambda name: verdicts[name].seconds)
    assert verdicts[slowest].seconds < SECONDS, slowest
    # the libraries alone take 0.5 GB
    assert max(found.kilobytes for found in verdicts.values()) < 2 * KILOBYTES


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("largest_dims", "70362301923678"),
        ("one_slice_less", "enough for another plane"),
        ("one_column_less", "enough for another plane"),
        ("hidden_volume", "enough for another plane"),
        ("bomb", "enough for another plane"),
        ("mha_bomb", "enough for another plane"),
        ("nrrd_bomb", "enough for another plane"),
        ("mha_longer", "enough for another plane"),
        ("header_alone", "truncated, 352 of"),
        ("lfs_pointer", ""),
        ("page", ""),
        ("empty", ""),
        ("packed_twice", ""),
        ("wild_voxel", "a voxel has 1e+38"),
        ("constant", "every voxel is 5"),
        ("tiny_spacing", "0.005 mm between voxels"),
        ("vanishing", "mm"),
        ("a_voxel", "every voxel is 5"),
        ("two_volumes", "is not one 3-D volume"),
        ("mha_elsewhere", "voxels are not in"),
        ("nrrd_detached", "in another file"),
        ("wrong_sum", "damaged"),
        ("no_sum", "truncated"),
    ],
)
def test_what_is_refused_says_why(verdicts, name, said) -> None:
    found = [verdict for path, verdict in verdicts.items() if path.split("/")[0][4:] == name]
    assert found
    assert all(verdict.pool and said in verdict.pool for verdict in found), found


@pytest.mark.parametrize(
    "name", ["extension_flag", "named_gz", "named_plain", "long_name", "no_qfac"]
)
def test_what_is_odd_but_whole_is_read(verdicts, name) -> None:
    found = [verdict for path, verdict in verdicts.items() if path.split("/")[0][4:] == name]
    assert found
    assert not any(verdict.pool for verdict in found), found


@pytest.mark.parametrize("name", ["padded", "mha_padded", "trailing"])
def test_padding_is_told_by_both(verdicts, name) -> None:
    found = [verdict for path, verdict in verdicts.items() if path.split("/")[0][4:] == name]
    assert found
    for verdict in found:
        assert not verdict.pool
        assert all("bytes behind the last voxel left out" in text for text in verdict.mended)


def test_a_run_over_a_sample_ends_with_a_verdict_on_each(tmp_path: Path, model: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    damaged = damaged_files(tmp_path / "all", COUNT)[:: COUNT // SAMPLE]
    for path in damaged:
        folder = path if path.is_dir() else path.parent
        (source / folder.name).parent.mkdir(exist_ok=True)
        folder.rename(source / folder.name)
    sitk.WriteImage(body(), str(source / "whole.nii.gz"))
    summary = predict_folder(source, output, model, PredictSettings(preview=False, modality="CT"))

    problems = pd.read_csv(output / "problems.csv", keep_default_na=False)
    assert (problems[["file", "reason", "remedy"]] != "").all(axis=None)
    assert not problems["reason"].str.contains("Traceback").any()
    finished = {record.stem for record in output.glob("*.json")}
    assert finished == set(summary.segmented)
    assert "whole" in finished
    for path in damaged:
        name = path.name if path.suffix == "" else path.parent.name
        named = problems["file"].str.contains(f"/{name}", regex=False)
        assert named.any() or any(scan.startswith(name) for scan in finished), path
    for name in finished:
        sitk.ReadImage(str(output / f"{name}.nii.gz"))
    # ru_maxrss counts kB; the reader's libraries take 0.5 GB, and 2 cubic metres of scan 2.5 GB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * KILOBYTES
