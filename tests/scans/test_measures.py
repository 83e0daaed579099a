"""What is measured where a region is painted with the integers of others."""

import numpy as np

from tsfm_pipeline.imaging.geometry import Geometry, Reorientation
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import ImageVolume
from tsfm_pipeline.scans.measures import measure_targets, region_mask

TABLE = LabelTable(
    targets={"kidney_right": 2, "kidney_left": 3, "kidney": 22, "kidney_tumor": 23},
    regions={"kidney": ("kidney", "kidney_tumor")},
    compositions={"kidney": ("kidney_left", "kidney_right")},
)


def test_the_kidneys_are_all_that_was_painted_over_them() -> None:
    labels = np.zeros((2, 4, 6), np.uint8)
    labels[0, 0, :5] = 2, 2, 3, 22, 23
    geometry = Geometry(labels.shape, (10, 10, 10), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    way_back = Reorientation((0, 1, 2), (False, False, False))
    volume = ImageVolume(labels[None].astype(np.float32), geometry, geometry, way_back)
    rows = {row["target"]: row for row in measure_targets(labels, volume, [*TABLE.targets], TABLE)}
    assert {name: row["volume_ml"] for name, row in rows.items()} == {
        "kidney_right": 2,
        "kidney_left": 1,
        "kidney": 5,
        "kidney_tumor": 1,
    }
    assert rows["kidney"]["includes"] == "kidney_right kidney_left kidney_tumor"
    np.testing.assert_array_equal(region_mask(labels, "kidney", TABLE), labels > 0)
