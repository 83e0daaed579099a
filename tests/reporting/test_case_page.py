"""Pages of single cases: what they hold, and what a real browser shows of it."""

import base64
import gzip
import re

import nibabel as nib
import numpy as np
import pytest

from tests.scans.browser import CHROMIUM, browser_page
from tests.store.test_cases import FOREGROUND, INTENSITIES, SHAPE, make_record
from tsfm_pipeline.evaluation.metrics import score_case
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.reporting.case_page import write_compared_page, write_prepared_page
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.source import LabelFile, SourceCase
from tsfm_pipeline.store import CaseStore

TABLE = LabelTable(
    targets={"spleen": 1, "liver": 5, "liver_tumor": 25},
    regions={"liver": ("liver", "liver_tumor")},
)
SOURCE = MsdSource(folder="x", labels={1: "liver", 2: "liver_tumor"}).named("own")
SPACING = (4.0, 2.0, 2.0)  # z, y, x
LIVER = (slice(2, 10), slice(20, 40), slice(20, 40))
TUMOR = (slice(4, 7), slice(24, 30), slice(24, 30))


def write(path, array_ZYX):
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0])
    nib.save(nib.Nifti1Image(array_ZYX.T, affine), path)
    return path


def embedded(path, name):
    text = re.search(rf'id="{name}">([^<]*)<', path.read_text())[1]
    return np.asarray(nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text))).dataobj).T


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A page, the fused reference, and the fused prediction: the liver moved, no tumour."""
    folder = tmp_path_factory.mktemp("compared")
    reference = np.zeros((12, 60, 60), np.uint8)
    reference[LIVER], reference[TUMOR] = 1, 2
    prediction = np.roll(reference == 1, 6, axis=2).astype(np.uint8)
    image = np.where(reference > 0, 60, -100).astype(np.int16)
    case = SourceCase(
        dataset="own",
        case="a",
        patient="a",
        modality="CT",
        images=(write(folder / "image.nii.gz", image),),
        labels=(LabelFile(write(folder / "label.nii.gz", reference)),),
    )
    predicted = write(folder / "prediction.nii.gz", prediction)
    page, regions = folder / "page.html", ["liver", "liver_tumor"]
    write_compared_page(page, case, SOURCE, TABLE, predicted, regions, "net, best weights")
    fused = np.array([0, 5, 25], np.uint8)
    return page, fused[reference], fused[prediction]


def dice_on_page(page):
    rows = re.findall(r'data-target="(\w+)".*?data-dice="([^"]*)"', page.read_text(), re.S)
    return {name: float(value) for name, value in rows}


def test_the_page_has_the_dice_that_the_case_is_scored_with(compared):
    page, reference, prediction = compared
    settings = EvaluationSettings(tumor_targets=("*_tumor",))
    rows = score_case(reference, prediction, ["liver", "liver_tumor"], TABLE, SPACING, settings)
    scored = {row["target"]: row["dice"] for row in rows if not row["extra"]}
    assert dice_on_page(page) == pytest.approx(scored)
    assert 0.3 < scored["liver"] < 0.8 and scored["liver_tumor"] == 0
    assert "net, best weights" in page.read_text()


def test_the_page_holds_the_prediction_and_the_references_outline(compared):
    page, reference, prediction = compared
    np.testing.assert_array_equal(embedded(page, "labels"), prediction)
    outline = embedded(page, "reference")
    # of the liver's box only the shell is left, and of the tumour's
    inner = tuple(slice(part.start + 1, part.stop - 1) for part in LIVER)
    shell = np.zeros(reference.shape, bool)
    shell[LIVER], shell[inner] = True, False
    np.testing.assert_array_equal((outline == 5)[shell], True)
    core = tuple(slice(part.start + 1, part.stop - 1) for part in TUMOR)
    assert not outline[core].any() and (outline == 25).sum() == 3 * 6 * 6 - 1 * 4 * 4
    assert not outline[reference == 0].any()


def test_a_prepared_case_is_shown_as_it_is_stored(tmp_path):
    image = np.random.default_rng(0).uniform(-500, 500, (1, *SHAPE)).round().astype(np.float32)
    labels = np.random.default_rng(1).choice([0, 5, 25, OUTSIDE], SHAPE).astype(np.uint8)
    store = CaseStore(tmp_path / "pool")
    store.write(make_record(), image, labels, FOREGROUND, INTENSITIES)
    write_prepared_page(tmp_path / "page.html", store, "set/case_1.a", TABLE)
    np.testing.assert_array_equal(embedded(tmp_path / "page.html", "image"), image[0])
    shown = np.where(labels == OUTSIDE, 0, labels)
    np.testing.assert_array_equal(embedded(tmp_path / "page.html", "labels"), shown)
    text = (tmp_path / "page.html").read_text()
    voxel_ml = 1.5 * 1.0 * (0.1 + 0.2) / 1000
    liver_ml = np.isin(labels, (5, 25)).sum() * voxel_ml
    assert f'data-volume="{liver_ml:.4f}'.rstrip("0") in text
    assert 'data-target="spleen"' not in text  # which the case does not annotate
    assert 'id="reference"' not in text


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")
def test_in_a_browser_prediction_and_reference_are_toggled_apart(compared, tmp_path):
    page, *_ = compared
    with browser_page(tmp_path / "profile") as opened:
        opened.open(page.as_uri())
        opened.wait("document.body && document.body.dataset.state != 'loading'", 60)
        assert opened.evaluate("document.body.dataset.state") == "ready"
        both = pixels(opened)
        click(opened, "tr[data-target=liver] [data-overlay=reference]")
        assert shown(opened) == ("liver liver_tumor", "liver_tumor")
        prediction = pixels(opened)
        assert 100 < prediction < both
        opened.press("p")
        assert shown(opened) == ("", "liver_tumor")
        assert pixels(opened) == 0
        click(opened, "tr[data-target=liver] [data-overlay=reference]")
        reference = pixels(opened)
        assert 100 < reference < both
        assert reference + prediction > both  # they overlap
        opened.press("r")
        assert shown(opened) == ("", "")
        click(opened, "[data-all=reference]")
        opened.press("1")  # a target goes out with its reference
        assert shown(opened) == ("", "liver_tumor")
        opened.press("a")
        assert shown(opened) == ("liver liver_tumor",) * 2
        assert opened.errors == []


def click(opened, selector):
    opened.evaluate(f"document.querySelector({selector!r}).click()")


def shown(opened):
    return tuple(
        opened.evaluate(f"document.body.dataset.{name}Shown") for name in ("labels", "reference")
    )


PIXELS = """(() => {
    layout("axial");
    view.volumes.slice(1).forEach((_, i) => view.setOpacity(i + 1, 1));
    view.drawScene();
    const gl = view.gl, [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const seen = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, seen);
    const wanted = scan.targets[0].colour;
    let count = 0;
    for (let i = 0; i < seen.length; i += 4)
        if (wanted.every((part, c) => Math.abs(part - seen[i + c]) < 12)) count++;
    return count;
})()"""


def pixels(opened):
    """Count pixels of the liver's colour in the axial view."""
    return opened.evaluate(PIXELS)
