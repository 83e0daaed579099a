import errno
import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.scans.conftest import body, write_series
from tsfm_pipeline.scans.dicom import read_series
from tsfm_pipeline.scans.finding import find_scans
from tsfm_pipeline.scans.problem import ScanError


def write(path, image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(body() if image is None else image, str(path))


def names(found):
    return [scan.name for scan in found]


def test_files_and_series_get_names_from_their_paths(tmp_path):
    write(tmp_path / "a.nii.gz")
    write(tmp_path / "anna k" / "b.nrrd")
    write(tmp_path / "anna k" / "ünder.mha")
    write(tmp_path / "raw" / "c.mhd")
    write(tmp_path / "out" / "a.nii.gz")
    write(tmp_path / ".cache" / "a.nii.gz")
    (tmp_path / "readme.txt").write_text("no scan")
    write_series(tmp_path / "study" / "ct")
    scans, problems = find_scans(tmp_path, leave_out=tmp_path / "out")
    assert names(scans) == ["a", "anna_k_b", "anna_k_ünder", "raw_c", "study_ct"]
    assert not problems
    assert [scan.modality for scan in scans] == [None] * 4 + ["CT"]


def test_names_that_clash_get_a_digest_that_does_not_depend_on_the_order(tmp_path):
    write(tmp_path / "sub" / "ct.nii.gz")
    write(tmp_path / "sub_ct.nii.gz")
    write(tmp_path / "sub" / "CT.nrrd")
    found = names(find_scans(tmp_path)[0])
    assert len(set(found)) == 3
    assert all(name.lower().startswith("sub_ct_") for name in found)
    assert found == names(find_scans(tmp_path)[0])


def test_one_file_and_one_dicom_file_are_inputs_too(tmp_path):
    write(tmp_path / "a.nii")
    write(tmp_path / "b.nii")
    assert names(find_scans(tmp_path / "a.nii")[0]) == ["a"]
    files = write_series(tmp_path / "series")
    (scan,), _ = find_scans(files[0])
    assert scan.name == "series"
    assert len(scan.files) == 6


def test_channels_are_joined_only_for_models_that_take_them(tmp_path):
    for name in ("p_0000", "p_0001", "q_0000"):
        write(tmp_path / f"{name}.nii.gz")
    scans, _ = find_scans(tmp_path, channels=1)
    assert names(scans) == ["p_0000", "p_0001", "q"]
    (pair,), (lacking,) = find_scans(tmp_path, channels=2)
    assert (pair.name, [path.name for path in pair.files]) == (
        "p",
        ["p_0000.nii.gz", "p_0001.nii.gz"],
    )
    assert lacking.scan == "q"
    assert "q_0001" in lacking.remedy


def test_several_series_of_a_folder_are_told_apart(tmp_path):
    write_series(tmp_path / "s", uid="1.2.5", description="arterial")
    for path in write_series(tmp_path / "other", uid="1.2.6", description="venous"):
        path.rename(tmp_path / "s" / f"v{path.name}")
    scans, problems = find_scans(tmp_path)
    assert names(scans) == ["s_7_arterial", "s_7_venous"]
    assert not problems


def test_slices_are_ordered_by_position_and_make_the_stated_volume(tmp_path):
    files = write_series(tmp_path, slices=5)
    (scan,), _ = find_scans(tmp_path)
    assert list(scan.files) == files  # written from the lowest up, named the other way
    image = read_series(scan.files)
    assert image.GetSpacing() == pytest.approx((2, 2, 3))
    assert image.GetOrigin() == pytest.approx((-20, 10, 0))
    for number, path in enumerate(files):
        one = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[number], one)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"positions": [0.0, 3, 6, 12, 15]}, "1 slice(s) missing, the first after 003.dcm"),
        ({"positions": [0.0, 3, 6, 6, 9]}, "lie at the same place"),
        ({"positions": [0.0, 3, 7, 10, 13]}, "slices are 3.00 to 4.00 mm apart"),
        ({"shift": 0.6}, "tilted gantry"),
        ({"slices": 1}, "single slice"),
        ({"modality": "PT"}, "DICOM modality PT"),
        ({"0008_0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "localizer"),
    ],
)
def test_a_doubtful_series_is_reported_and_not_guessed(tmp_path, change, said):
    write_series(tmp_path, **change)
    scans, (problem,) = find_scans(tmp_path)
    assert not scans
    assert said in problem.reason
    assert problem.remedy
    skipped = "modality" in change or "0008_0008" in change
    assert problem.kind == ("skipped" if skipped else "failed")


def test_slices_of_two_sizes_or_turned_are_no_volume(tmp_path):
    for change, said in (
        ({"size": 24}, "another size"),
        ({"0020_0037": "0\\1\\0\\-1\\0\\0"}, "is turned"),
    ):
        folder = tmp_path / said.replace(" ", "")
        write_series(folder, slices=3)
        other = write_series(tmp_path / "other", positions=[9.0], **change)
        other[0].rename(folder / "more.dcm")
        (problem,) = find_scans(folder)[1]
        assert said in problem.reason


def test_a_damaged_slice_stops_its_series(tmp_path):
    files = write_series(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:150])  # the topmost: no gap would show
    scans, problems = find_scans(tmp_path)
    assert not scans
    assert {problem.kind for problem in problems} == {"failed"}
    assert any("unreadable and may be one of its slices" in one.reason for one in problems)


def test_nothing_to_segment_is_said_at_once(tmp_path):
    with pytest.raises(ScanError, match="no such file or folder"):
        find_scans(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ScanError, match="no scan found"):
        find_scans(tmp_path)


def test_linked_folders_are_searched_once_and_under_their_own_path_where_they_have_one(tmp_path):
    root = tmp_path / "in"
    write(tmp_path / "data" / "p1" / "ct.nii.gz")
    write(root / "z" / "mr.nii.gz")
    write(tmp_path / "out" / "p1_ct.nii.gz")
    (root / "p1").symlink_to(tmp_path / "data" / "p1")
    (root / "twice").symlink_to(tmp_path / "data" / "p1")
    (root / "latest").symlink_to(root / "z")
    (root / "z" / "up").symlink_to(root)
    (root / "results").symlink_to(tmp_path / "out")
    scans, problems = find_scans(root, leave_out=tmp_path / "out")
    assert sorted(names(scans)) == ["p1_ct", "z_mr"]
    assert not problems


def test_a_closed_folder_is_a_problem_and_not_passed_over(tmp_path, monkeypatch):
    write(tmp_path / "a.nii.gz")
    write(tmp_path / "shut" / "b.nii.gz")
    listed = os.scandir

    def refuse(path):
        if Path(path) == tmp_path / "shut":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (scan,), (problem,) = find_scans(tmp_path)
    assert scan.name == "a"
    assert (problem.file, problem.kind) == (str(tmp_path / "shut"), "failed")
    assert "Permission denied" in problem.reason


def test_a_name_from_a_long_path_leaves_room_for_what_writing_adds(tmp_path):
    deep = tmp_path / ("p" * 150) / ("ü" * 60)
    write(deep / "one.nii.gz")
    write(deep / "two.nii.gz")
    found = names(find_scans(tmp_path)[0])
    assert len(set(found)) == 2
    assert found == names(find_scans(tmp_path)[0])
    for name in found:
        assert len(f".writing.{'0' * 32}.{name}.nii.gz".encode()) <= 255
        assert name.startswith("p" * 150)


def test_no_scan_takes_the_name_of_the_page_of_all(tmp_path):
    write(tmp_path / "index.nii.gz")
    (name,) = names(find_scans(tmp_path)[0])
    assert name.startswith("index_")


def test_names_that_are_not_utf8_are_problems(tmp_path):
    write(tmp_path / "a.nii.gz")
    odd = os.fsdecode(b"caf\xe9")
    write(tmp_path / "b.nii.gz")
    (tmp_path / "b.nii.gz").rename(tmp_path / f"{odd}.nii.gz")
    write_series(tmp_path / "ct")[0].rename(tmp_path / "ct" / f"{odd}.dcm")
    write(tmp_path / "folder" / "c.nii.gz")
    (tmp_path / "folder").rename(tmp_path / odd)
    (tmp_path / f"{odd}.txt").write_text("no scan")
    (scan,), problems = find_scans(tmp_path)
    assert scan.name == "a"
    assert {problem.kind for problem in problems} == {"failed"}
    told = {problem.file: problem.reason for problem in problems}
    assert set(told) == {
        str(tmp_path / name)
        for name in ("caf\\udce9.nii.gz", "ct/caf\\udce9.dcm", "caf\\udce9", "ct")
    }
    for name in ("caf\\udce9.nii.gz", "ct/caf\\udce9.dcm", "caf\\udce9"):
        assert "not UTF-8" in told[str(tmp_path / name)]
    str(problems).encode()
