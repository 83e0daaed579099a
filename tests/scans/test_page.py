"""Pages of scans, in a real browser where there is one."""

import base64
import gzip
import re
import shutil
import threading
from urllib.request import urlopen

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from tests.scans.browser import CHROMIUM, browser_page
from tests.scans.thresholds import threshold_model
from tsfm_pipeline.imaging.geometry import Geometry
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.scans import page, run
from tsfm_pipeline.scans.ensemble import Ensemble
from tsfm_pipeline.scans.page import coarser_by, write_index, write_page
from tsfm_pipeline.scans.record import ScanRecord, read_records
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.serve import open_server
from tsfm_pipeline.scans.settings import PredictSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of one scan with a liver and a tumour in it, page included."""
    root = tmp_path_factory.mktemp("page")
    values = np.full((40, 60, 60), 40, np.int16)
    values[:, :3] = -1000
    values[10:30, 20:45, 15:40] = 400
    values[15:20, 30:36, 20:26] = 800
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 1.5))
    image.SetOrigin((-30.0, -20.0, 5.0))
    sitk.WriteImage(image, str(root / "o'hara <ct>.nii.gz"))
    opened = Ensemble((threshold_model(root / "model"),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "open_models", lambda *_: opened)
        settings = PredictSettings(page=True, preview=False)
        predict_folder(root / "o'hara <ct>.nii.gz", root / "out", root / "model", settings)
    return root


def page_of(folder):
    (path,) = (path for path in (folder / "out").glob("*.html") if path.name != "index.html")
    return path


def embedded(path, name):
    text = re.search(rf'id="{name}">([^<]*)<', path.read_text())[1]
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_a_page_holds_the_scan_on_its_place(folder):
    path = page_of(folder)
    like = nibabel.load(folder / "o'hara <ct>.nii.gz")
    for name, file in (("image", like), ("labels", nibabel.load(path.with_suffix(".nii.gz")))):
        shown = nibabel.as_closest_canonical(embedded(path, name))
        wanted = nibabel.as_closest_canonical(file)
        np.testing.assert_allclose(shown.affine, wanted.affine, atol=1e-4)
        np.testing.assert_array_equal(shown.get_fdata(), wanted.get_fdata())


def test_a_large_scan_is_shown_coarser_and_stays_in_its_place(tmp_path, monkeypatch):
    values = np.zeros((6, 9, 8), np.float32)
    values[2:4, 4:6, 2:6] = 100.0
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "mr.nii.gz"))
    volume = read_image([tmp_path / "mr.nii.gz"])
    labels = (volume.array[0] > 0).astype(np.uint8)
    monkeypatch.setattr(page, "MOST_VOXELS", 6 * 4 * 4)
    assert coarser_by(volume.geometry) == (1, 2, 2)
    row = {"target": "a", "label": 1, "includes": "", "voxels": 16, "volume_ml": 0.032}
    record = ScanRecord(
        scan="mr",
        files=(),
        inputs="",
        made_by="",
        modality="MR",
        notes=("see </script>",),
        volumes=({**row, "mean_intensity": 100.0},),
    )
    write_page(tmp_path / "mr.html", volume, labels, record, in_index=False)
    assert "1/1 x 1/2 x 1/2" in (tmp_path / "mr.html").read_text()
    assert "see &lt;/script&gt;" in (tmp_path / "mr.html").read_text()
    for name, high in (("image", 100.0), ("labels", 1.0)):
        shown = embedded(tmp_path / "mr.html", name)
        array = shown.get_fdata()
        assert array.shape == (4, 4, 6)
        assert array.max() == pytest.approx(high, rel=1e-3)
        # where the bright block lies, in mm: its centre is that of the full scan
        centre = np.argwhere(array > high / 2).mean(axis=0)
        world = nibabel.affines.apply_affine(shown.affine, centre)
        np.testing.assert_allclose(world, (-3.5, -4.5, 5.0), atol=1e-4)


def test_512_by_512_by_300_voxels_are_halved():
    grid = Geometry((300, 512, 512), (1.0, 0.8, 0.8), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert coarser_by(grid) == (2, 2, 2)


def test_a_thin_scan_keeps_its_planes():
    grid = Geometry((1, 3300, 3300), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    assert coarser_by(grid) == (1, 2, 2)


def test_the_index_lists_what_has_a_page(folder):
    text = (folder / "out" / "index.html").read_text()
    records = read_records(folder / "out")
    (name,) = records
    assert f'href="{name}.html"' in text
    assert "liver, with liver_tumor: " in text
    (folder / "none").mkdir()
    write_index(folder / "none", records)
    assert "Segmented scans (0)" in (folder / "none" / "index.html").read_text()


def test_pages_are_served_on_this_machine_alone(folder):
    with open_server(folder / "out") as server:
        assert server.server_address[0] == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{server.server_port}/") as answer:
            assert b"Segmented scans (1)" in answer.read()
        server.shutdown()


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")
def test_in_a_browser_a_scan_opens_a_target_toggles_and_numbers_are_the_tables(folder, tmp_path):
    table = pd.read_csv(folder / "out" / "volumes.csv").set_index("target")
    with browser_page(tmp_path / "profile") as opened:
        opened.open(page_of(folder).as_uri())
        opened.wait("document.body && document.body.dataset.state != 'loading'", 60)
        assert opened.evaluate("document.body.dataset.state") == "ready"
        for target, row in table.iterrows():
            cells = f"document.querySelector('tr[data-target={target}] [data-%s]').dataset.%s"
            assert float(opened.evaluate(cells % ("volume", "volume"))) == row["volume_ml"]
            assert float(opened.evaluate(cells % ("mean", "mean"))) == row["mean_intensity"]
        # the liver's colour is drawn until it is switched off, and the tumour's stays
        drawn = {name: pixels_like(opened, name) for name in ("liver", "liver_tumor")}
        assert min(drawn.values()) > 50
        opened.evaluate("document.querySelector('tr[data-target=liver] input').click()")
        assert "liver" not in opened.evaluate("document.body.dataset.labelsShown").split()
        assert pixels_like(opened, "liver") < drawn["liver"] / 20
        assert pixels_like(opened, "liver_tumor") > drawn["liver_tumor"] / 2
        opened.press("n")
        assert opened.evaluate("document.body.dataset.labelsShown") == ""
        opened.press("a")
        assert pixels_like(opened, "liver") > drawn["liver"] / 2
        assert opened.errors == []


PIXELS = """((name) => {
    layout("axial");
    view.setOpacity(1, 1);
    view.drawScene();
    const gl = view.gl, [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const seen = new Uint8Array(4 * w * h);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, seen);
    const wanted = scan.targets.find((target) => target.name == name).colour;
    let count = 0;
    for (let i = 0; i < seen.length; i += 4)
        if (wanted.every((part, c) => Math.abs(part - seen[i + c]) < 12)) count++;
    return count;
})"""


def pixels_like(opened, name):
    """Count pixels of a target's colour in the axial view."""
    return opened.evaluate(f"{PIXELS}({name!r})")


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium")
def test_a_browser_without_the_scan_says_so(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    path = tmp_path / "out" / page_of(folder).name
    path.write_text(re.sub(r'(id="image">)[^<]*<', r"\1AAAA<", path.read_text()))
    with browser_page(tmp_path / "profile") as opened:
        opened.open(path.as_uri())
        opened.wait("document.body && document.body.dataset.state == 'failed'", 60)
        assert "can't show the scan" in opened.evaluate("document.querySelector('main').innerText")
