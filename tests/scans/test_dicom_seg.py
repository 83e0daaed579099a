import numpy as np
import pytest

from tests.scans.conftest import write_series
from tsfm_pipeline.scans.dicom_seg import write_dicom_seg

highdicom = pytest.importorskip("highdicom", reason="needs the extra `dicom`")


def test_segments_come_back_on_the_slices_they_were_made_of(tmp_path):
    files = write_series(tmp_path / "in", slices=4)
    labels = np.zeros((4, 20, 20), np.uint8)
    labels[1, 5:9, 2:4] = 5
    labels[1:3, 6, 3] = 25
    path = tmp_path / "out.seg.dcm"
    write_dicom_seg(path, files, labels, {1: "spleen", 5: "liver", 25: "liver_tumor"}, "model")
    found = highdicom.seg.segread(path)
    assert [found.get_segment_description(n).segment_label for n in (1, 2)] == [
        "liver",
        "liver_tumor",
    ]
    uids = [f"1.2.3.4.{number + 1}" for number in range(4)]
    masks = found.get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True, ignore_spatial_locations=True
    )
    np.testing.assert_array_equal(masks[..., 0], labels == 5)
    np.testing.assert_array_equal(masks[..., 1], labels == 25)
