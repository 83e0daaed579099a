"""Series that are not what they seem: what is refused, what is noted, what is no scan at all."""

import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian

from tests.scans.conftest import write_series
from tsfm_pipeline.scans.dicom import read_series
from tsfm_pipeline.scans.finding import find_scans
from tsfm_pipeline.scans.problem import ScanError

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def cumulated(stacks: list[tuple[int, float]]) -> list[float]:
    """Return positions in mm: from 0, so many steps of so many mm, then the next stack's."""
    steps = [step for count, step in stacks for _ in range(count)]
    return [round(float(at), 4) for at in np.cumsum([0.0, *steps])]


def test_errors_of_position_that_add_up_are_refused(tmp_path):
    write_series(tmp_path, positions=cumulated([(40, 2.00), (40, 2.09)]))
    scans, (problem,) = find_scans(tmp_path)
    assert not scans
    assert problem.kind == "failed"
    assert "slices are 2.00 to 2.09 mm apart" in problem.reason
    assert "up to 1.80 mm from where even steps of 2.04 mm put them" in problem.reason
    assert "resample the series onto even distances" in problem.remedy


@pytest.mark.parametrize(
    ("positions", "noted"),
    [
        (cumulated([(5, 2.0), (5, 2.08)]), "up to 0.20 mm"),
        ([round(0.625 * number, 1) for number in range(20)], None),
        (cumulated([(10, 3.0)]), None),
    ],
)
def test_small_errors_of_position_are_noted_and_rounded_headers_are_not(tmp_path, positions, noted):
    write_series(tmp_path, positions=positions)
    (scan,), problems = find_scans(tmp_path)
    assert not problems
    assert bool(scan.notes) == bool(noted)
    if noted:
        assert noted in scan.notes[0]


def test_every_problem_of_a_series_is_named_at_once(tmp_path):
    write_series(tmp_path, positions=[0.0, 3, 7, 10, 13], shift=0.6, **{"0010_0020": "P1"})
    other = write_series(tmp_path / "other", positions=[13.0], size=24, **{"0010_0020": "P2"})
    other[0].rename(tmp_path / "x.dcm")
    shutil.rmtree(tmp_path / "other")
    scans, (problem,) = find_scans(tmp_path)
    assert not scans
    for said in (
        "different patient IDs",
        "another size",
        "lie at the same place",
        "slices are 3.00 to 4.00 mm apart",
        "tilted gantry",
    ):
        assert said in problem.reason
    for remedy in ("right-angled grid", "even distances", "each patient"):
        assert remedy in problem.remedy


def test_one_series_of_two_patients_is_refused(tmp_path):
    files = write_series(tmp_path, **{"0010_0020": "P1"})
    write_series(tmp_path / "b", **{"0010_0020": "P2"})
    (tmp_path / "b" / files[2].name).replace(files[2])
    shutil.rmtree(tmp_path / "b")
    scans, (problem,) = find_scans(tmp_path)
    assert not scans
    assert problem.kind == "failed"
    assert "different patient IDs" in problem.reason
    assert "P2" not in problem.reason  # problem tables get passed on


def test_screenshots_and_dose_sheets_are_skipped(tmp_path):
    write_series(tmp_path / "ct")
    sheet = sitk.GetImageFromArray(np.zeros((1, 30, 40), np.uint8))
    for key, value in {"0008|0016": SECONDARY_CAPTURE, "0008|0060": "CT"}.items():
        sheet.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(tmp_path / "ct" / "dose.dcm"))
    writer.Execute(sheet)
    content = (tmp_path / "ct" / "dose.dcm").read_bytes()
    assert b"\x20\x00\x32\x00" in content  # SimpleITK states a position; programs that draw don't
    (tmp_path / "ct" / "dose.dcm").write_bytes(
        content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x31\x00")
    )
    write_series(tmp_path / "shot", positions=[0.0], **{"0008_0016": SECONDARY_CAPTURE})
    scans, problems = find_scans(tmp_path)
    assert [scan.name for scan in scans] == ["ct"]
    assert {problem.kind for problem in problems} == {"skipped"}
    assert len(problems) == 2
    assert all("secondary capture" in problem.reason for problem in problems)


def test_copies_of_a_slice_are_left_out_with_a_note(tmp_path):
    files = write_series(tmp_path)
    copy = shutil.copy(files[2], tmp_path / "000 copy.dcm")
    (scan,), problems = find_scans(tmp_path)
    assert not problems
    assert len(scan.files) == 6
    assert "left out" in scan.notes[0]
    assert "1 file(s)" in scan.notes[0]
    (named,), _ = find_scans(tmp_path / "000 copy.dcm")
    assert len(named.files) == 6
    assert copy in named.files


@pytest.mark.parametrize("kept", [100, -60])
def test_a_slice_cut_off_within_its_pixels_is_refused_by_name(tmp_path, kept):
    files = write_series(tmp_path)
    content = files[3].read_bytes()
    start = content.find(b"\xe0\x7f\x10\x00") + 8
    files[3].write_bytes(content[: start + kept] if kept > 0 else content[:kept])
    with pytest.raises(ScanError, match=rf"{files[3].name} is an unreadable or damaged"):
        read_series(files)


def test_a_slice_whose_header_states_fewer_pixels_is_refused(tmp_path):
    files = write_series(tmp_path)
    content = files[3].read_bytes()
    start = content.find(b"\xe0\x7f\x10\x00")
    short = (100).to_bytes(4, "little")
    files[3].write_bytes(content[: start + 4] + short + content[start + 8 : start + 108])
    with pytest.raises(ScanError, match=rf"{files[3].name} is truncated, 100 of 800 bytes"):
        read_series(files)


def test_a_packed_slice_that_breaks_off_is_refused(tmp_path):
    (file,) = write_series(tmp_path, positions=[0.0])
    image = sitk.ReadImage(str(file))
    packed = tmp_path / "packed.dcm"
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.UseCompressionOn()
    writer.SetFileName(str(packed))
    writer.Execute(image)
    assert read_series([packed]).GetSize()[0] == 20
    content = packed.read_bytes()
    for kept in (-20, -len(content) // 4):
        packed.write_bytes(content[:kept])
        with pytest.raises(ScanError, match=r"packed.dcm is an unreadable or damaged"):
            read_series([packed])


def write_frames(folder, depths, stated=True, slopes=None):
    """Write an Enhanced MR file whose frame n is n throughout, before slopes."""
    folder.mkdir()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = EnhancedMRImageStorage, "1.2.3"
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = EnhancedMRImageStorage, "1.2.3"
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = "1.1", "1.2", "1.3"
    file.Modality, file.PatientID, file.ImageType = "MR", "p", ["ORIGINAL", "PRIMARY"]
    file.Rows, file.Columns, file.NumberOfFrames = 4, 5, len(depths)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 1
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    file.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for number, depth in enumerate(depths):
        position, frame = Dataset(), Dataset()
        position.ImagePositionPatient = [-7, 8, depth]
        if stated:
            frame.PlanePositionSequence = [position]
        if slopes:
            scale = Dataset()
            scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slopes[number], 10, "US"
            frame.PixelValueTransformationSequence = [scale]
        frames.append(frame)
    file.PerFrameFunctionalGroupsSequence = frames
    values = np.repeat(np.arange(len(depths), dtype=np.uint16), 20)
    file.PixelData = values.tobytes()
    file.save_as(folder / "frames.dcm", enforce_file_format=True)


@pytest.mark.parametrize(
    ("depths", "refused"),
    [
        ([0, 1, 2, 10, 11, 12], "7 slice(s) missing, the first after frame 3 of frames.dcm"),
        ([0, 1, 2, 0, 1, 2], "lie at the same place"),
        ([0, 0, 1, 1, 2, 2], "lie at the same place"),
        ([0, 3, 1, 4, 2, 5], "frames.dcm are not stored in the order of their positions"),
        (None, "does not state position, orientation and pixel spacing of each"),
    ],
)
def test_frames_that_make_no_volume_are_refused(tmp_path, depths, refused):
    write_frames(tmp_path / "mr", depths or range(6), stated=depths is not None)
    scans, (problem,) = find_scans(tmp_path)
    assert not scans
    assert refused in problem.reason


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_frames_lie_where_they_are_stated(tmp_path, step):
    write_frames(tmp_path / "mr", [5 + step * number for number in range(6)])
    (scan,), problems = find_scans(tmp_path)
    assert not problems
    image = read_series(scan.files)
    for number in range(6):
        index = image.TransformPhysicalPointToIndex((-7 + 3, 8 + 2, 5 + step * number))
        assert index[:2] == (1, 1)
        assert image[index] == number
    assert image.GetSpacing() == pytest.approx((3, 2, 2.5))


def test_frames_of_different_slopes_are_refused(tmp_path):
    """GDCM would take the first frame's slope for all."""
    write_frames(tmp_path / "alike", range(6), slopes=[2] * 6)
    write_frames(tmp_path / "mr", range(6), slopes=[2, 2, 2, 2, 2, 3])
    (scan,), (problem,) = find_scans(tmp_path)
    assert scan.name == "alike"
    assert read_series(scan.files)[0, 0, 5] == 5 * 2 + 10
    assert "frames.dcm are rescaled in different ways" in problem.reason
    assert "slope 2.0, intercept 10.0 and slope 3.0, intercept 10.0" in problem.reason
    assert problem.remedy == "export it with one frame a file"


def test_a_file_of_damaged_functional_groups_does_not_end_the_search(tmp_path):
    write_series(tmp_path / "ct")
    write_frames(tmp_path / "mr", range(6))
    content = (tmp_path / "mr" / "frames.dcm").read_bytes()
    shared = b"\x00\x52\x29\x92"
    assert shared + b"SQ" in content
    (tmp_path / "mr" / "frames.dcm").write_bytes(content.replace(shared + b"SQ", shared + b"SF"))
    (scan,), (problem,) = find_scans(tmp_path)
    assert scan.name == "ct"
    assert problem.kind == "failed"
    assert "frames.dcm" in problem.reason
