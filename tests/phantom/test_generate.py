"""Same seed same bytes, finished work is kept, nobody else's folder is touched."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tests.phantom.conftest import read
from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.ownership import MARKER, PhantomFolderError, is_phantom
from tsfm_pipeline.phantom.settings import GENERATOR_VERSION, PhantomSettings
from tsfm_pipeline.workers import WorkerSettings

SETTINGS = PhantomSettings(
    seed=1, cases={"btcv": 1, "breast": 1, "brats2020": 1}, spacing_scale=1.8
)


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def voxel_digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(read(path).tobytes()).hexdigest()
        for path in root.rglob("*.nii*")
    }


@pytest.fixture
def made(tmp_path: Path) -> Path:
    root = tmp_path / "raw" / "phantom"
    generate_phantoms(SETTINGS, root)
    return root


def test_same_seed_same_voxels_whatever_the_processes(made: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    manifest = generate_phantoms(SETTINGS, again, WorkerSettings(jobs=1))
    assert voxel_digests(again) == voxel_digests(made)
    assert manifest == generate_phantoms(SETTINGS, made)
    generate_phantoms(SETTINGS.model_copy(update={"seed": 2}), other)
    same = set(voxel_digests(other).values()) & set(voxel_digests(made).values())
    assert not same


def test_a_case_does_not_depend_on_what_else_is_made(made: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    generate_phantoms(SETTINGS.model_copy(update={"cases": {"brats2020": 2}}), alone)
    name = "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001/BraTS20_Training_001_t2.nii.gz"
    assert np.array_equal(read(alone / name), read(made / name))


def test_finished_work_is_left_alone(made: Path) -> None:
    before = contents(made)
    manifest = generate_phantoms(SETTINGS, made)
    assert contents(made) == before
    assert [row["dataset"] for row in manifest] == ["btcv", "breast", "brats2020"]


def test_new_settings_replace_the_old_files(made: Path) -> None:
    (made / "breast/1/.writing.1f2e.P0.nii").write_bytes(b"of a killed run")
    generate_phantoms(SETTINGS.model_copy(update={"cases": {"msd_colon": 1}}), made)
    assert {path.name for path in made.iterdir()} == {"Task10_Colon", MARKER}


@pytest.mark.parametrize("damage", ["marker says unfinished", "file lost", "file cut short"])
def test_interrupted_work_is_redone(made: Path, damage: str) -> None:
    expected = voxel_digests(made)
    victim = made / "RawData/Training/img/img0001.nii.gz"
    if damage == "marker says unfinished":
        content = json.loads((made / MARKER).read_text())
        (made / MARKER).write_text(json.dumps(content | {"complete": False}))
        (made / "breast/1/P0.nii").write_bytes(b"half a fi")
    elif damage == "file lost":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:100])
    generate_phantoms(SETTINGS, made)
    assert voxel_digests(made) == expected


@pytest.mark.parametrize("name", ["patient.nii.gz", "kits19/data/case_00000/imaging.nii.gz"])
def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"somebody's data")
    before = contents(tmp_path)
    with pytest.raises(PhantomFolderError, match="not made by the phantom generator") as error:
        generate_phantoms(SETTINGS, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert contents(tmp_path) == before


def test_a_file_put_into_the_phantom_folder_survives(made: Path) -> None:
    (made / "RawData/Training/img/img9999.nii.gz").write_bytes(b"somebody's data")
    before = contents(made)
    with pytest.raises(PhantomFolderError, match=r"img9999\.nii\.gz"):
        generate_phantoms(SETTINGS.model_copy(update={"seed": 3}), made)
    assert contents(made) == before


def test_real_data_linked_into_the_phantom_folder_are_no_phantoms(tmp_path: Path) -> None:
    real, root = tmp_path / "real", tmp_path / "phantoms"
    for folder in (real, root / "Task03_Liver/imagesTr"):
        folder.mkdir(parents=True)
    (root / MARKER).touch()
    (root / "Task04_Hippocampus").symlink_to(real)
    assert is_phantom(root / "Task03_Liver/imagesTr/case.nii.gz")
    assert is_phantom(root)
    assert not is_phantom(root / "Task04_Hippocampus/case.nii.gz")
    assert not is_phantom(real)


def test_an_unreadable_marker_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"digest": 1')
    with pytest.raises(PhantomFolderError, match="can't be read"):
        generate_phantoms(SETTINGS, tmp_path)


@pytest.mark.parametrize(
    ("cases", "message"), [({"kits20": 2}, "no such dataset"), ({"btcv": 0}, "at least 1")]
)
def test_wrong_cases_are_refused(cases: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PhantomSettings(cases=cases)


def test_digest_follows_content_only() -> None:
    for change in ({"seed": 5}, {"spacing_scale": 1.1}, {"cases": {"btcv": 1}}):
        assert SETTINGS.digest != SETTINGS.model_copy(update=change).digest


def test_output_changes_only_with_a_new_version(made: Path) -> None:
    """Whoever changes what is generated raises GENERATOR_VERSION and renews these numbers."""
    brain = "MICCAI_BraTS2020_TrainingData/BraTS20_Training_001/BraTS20_Training_001"
    golden_voxels = {
        "RawData/Training/label/label0001.nii.gz": [
            8388, 101, 60, 53, 14, 8, 441, 147, 65, 53, 28, 43, 4, 3,
        ],
        "breast/1/GT.nii": [9530, 18],
        f"{brain}_seg.nii.gz": [12150, 7, 196, 0, 40],
    }  # fmt: skip
    golden_means = {
        "RawData/Training/img/img0001.nii.gz": -422.284,
        "breast/1/P2.nii": 50.884,
        f"{brain}_t1ce.nii.gz": 17.681,
    }
    assert GENERATOR_VERSION == 1
    for name, expected in golden_voxels.items():
        np.testing.assert_allclose(np.bincount(read(made / name).ravel()), expected, atol=1)
    for name, mean in golden_means.items():
        assert read(made / name).mean() == pytest.approx(mean, rel=1e-3)
