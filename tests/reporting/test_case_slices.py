"""Slices of raw cases: written here as files, read back as the report does."""

import nibabel as nib
import numpy as np
import pytest

from tests.reporting.test_markdown import PHANTOMS
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.reporting.case_slices import LATERAL_SWAP, MARGIN_MM, read_slices
from tsfm_pipeline.reporting.example_cases import Example
from tsfm_pipeline.reporting.figures.case_panels import draw_examples, draw_failures
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.source import LabelFile, SourceCase

TABLE = LabelTable(targets={"kidney_left": 3, "kidney_right": 2})
SOURCE = MsdSource(folder="x", labels={1: "kidney_left", 2: "kidney_right"}).named("own")
SPACING = (4.0, 2.0, 1.0)  # z, y, x
LEFT = (slice(5, 9), slice(20, 40), slice(60, 80))
RIGHT = (slice(5, 9), slice(20, 40), slice(10, 30))


def write(path, array_ZYX):
    """Write on a canonical grid: x to the left, y to the back, z to the head."""
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    nib.save(nib.Nifti1Image(array_ZYX.T, affine), path)
    return path


def labels(**boxes):
    map_ZYX = np.zeros((12, 60, 160), np.uint8)
    for name, box in boxes.items():
        map_ZYX[box] = {"left": 1, "right": 2}[name]
    return map_ZYX


@pytest.fixture
def pictured(tmp_path):
    """Read one case with the named predictions."""
    reference = labels(left=LEFT, right=RIGHT)
    reference[6, 40:44, 60:80] = 1  # the largest extent is in slice 6
    image = np.random.default_rng(0).normal(size=reference.shape).astype(np.float32)
    case = SourceCase(
        dataset="own",
        case="a",
        patient="a",
        modality="CT",
        images=(write(tmp_path / "image.nii.gz", image),),
        labels=(LabelFile(write(tmp_path / "label.nii.gz", reference)),),
    )

    def read(target="kidney_left", **predictions):
        files = {
            (name, case.key): write(tmp_path / f"{name}.nii.gz", map_ZYX)
            for name, map_ZYX in predictions.items()
        }
        systems = {name.upper(): name for name in (*predictions, "without_prediction")}
        dice = dict.fromkeys(systems, 0.5)
        example = Example(case.key, (target,), systems, dice, note="partly")
        gone = Example("own/gone", (target,), systems, dice)
        found = read_slices([gone, example], {case.key: case}, {"own": SOURCE}, TABLE, files)
        return found, image

    return read


def test_the_slice_of_the_largest_extent_around_the_target(pictured):
    moved = (LEFT[0], slice(24, 44), LEFT[2])
    ((example, cut),), image = pictured(net=labels(left=moved))
    assert example.systems == {"NET": "net"}
    assert cut.note == "partly"
    assert cut.aspect == 2.0
    # rows 20 to 44 are 48 mm, columns 60 to 80 are 20 mm: a square of 48 mm and the margin
    rows = slice(32 - int((24 + MARGIN_MM) / 2), 32 + int((24 + MARGIN_MM) / 2))
    columns = slice(70 - int(24 + MARGIN_MM), 70 + int(24 + MARGIN_MM))
    assert np.array_equal(cut.image_YX, image[6, max(rows.start, 0) : rows.stop, columns])
    (reference,), (prediction,) = cut.reference, cut.predictions["NET"]
    assert reference.sum() == 24 * 20 and prediction.sum() == 20 * 20
    assert (reference & prediction).sum() == 20 * 20


def test_sides_that_changed_places_are_called_so(pictured):
    ((_, swapped),), _ = pictured(net=labels(left=RIGHT, right=LEFT))
    assert swapped.note == LATERAL_SWAP
    ((_, right),), _ = pictured(net=labels(left=LEFT, right=RIGHT))
    assert right.note == "partly"
    ((_, nothing),), _ = pictured(net=labels())
    assert nothing.note == "partly"
    assert not nothing.predictions["NET"][0].any()


def test_a_case_without_files_is_left_out_and_the_caption_counts_it(pictured, nothing_is_cut):
    found, _ = pictured(net=labels(left=LEFT), other=labels())
    for drawing in (draw_examples(found, 1, PHANTOMS), draw_failures([], 2, PHANTOMS)):
        caption = " ".join(drawing.figure.texts[1].get_text().split())
        assert "left out: their raw files or predictions are not there" in caption
        nothing_is_cut(drawing.figure)
    drawing = draw_examples(found, 0, PHANTOMS)
    assert drawing.data["system"].tolist() == ["NET", "OTHER"]
    assert "left out" not in drawing.figure.texts[1].get_text()
    titles = [axes.get_title(loc="left") for axes in drawing.figure.axes]
    assert titles == ["own/a", "NET", "OTHER"]


def test_failures_are_titled_with_their_reason(pictured, nothing_is_cut):
    found, _ = pictured(net=labels(left=LEFT))
    drawing = draw_failures(found * 5, 0, PHANTOMS)
    assert drawing.figure.axes[0].get_title(loc="left") == "NET\nown/a\nkidney_left: partly"
    assert len(drawing.data) == 5
    nothing_is_cut(drawing.figure)
