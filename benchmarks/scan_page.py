"""Seconds to write the page of a 512x512x300 CT, and until headless Chromium shows it.

python -m benchmarks.scan_page
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.figures import Figure, hand_over
from tests.scans.browser import CHROMIUM, browser_page
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.scans.loading import volume_of
from tsfm_pipeline.scans.measures import measure_targets
from tsfm_pipeline.scans.page import write_page
from tsfm_pipeline.scans.record import ScanRecord

SHAPE = (300, 512, 512)
TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25}, regions={"liver": ("liver", "liver_tumor")}
)


def main():
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    hu = np.random.default_rng(0).normal(0, 20, SHAPE).astype(np.float32)
    hu += np.where((y - 256) ** 2 / 180**2 + (x - 256) ** 2 / 220**2 < 1, 40, -1000)
    labels = np.zeros(SHAPE, np.uint8)
    for value, radius, change in ((5, 80, 70), (25, 20, -50)):
        inside = (z - 150) ** 2 + (y - 230) ** 2 + (x - 180) ** 2 < radius**2
        labels[inside] = value
        hu[inside] += change
    image = sitk.GetImageFromArray(np.rint(hu).astype(np.int16))
    image.SetSpacing((0.8, 0.8, 1.0))
    volume = volume_of([image])
    rows = measure_targets(labels, volume, ("liver", "liver_tumor"), TABLE)
    record = ScanRecord(
        scan="ct", files=(), inputs="", made_by="", modality="CT", notes=(), volumes=tuple(rows)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.html"
        start = time.perf_counter()
        write_page(path, volume, labels, record, in_index=False)
        seconds, megabytes = time.perf_counter() - start, path.stat().st_size / 1e6
        print(f"written in {seconds:.1f} s, {megabytes:.1f} MB")
        hand_over(Figure("written", "s", seconds), Figure("size", "MB", megabytes))
        if not CHROMIUM:
            print("not opened: no Chromium")
            return
        with browser_page(Path(folder) / "profile") as page:
            start = time.perf_counter()
            page.open(path.as_uri())
            page.wait("document.body && document.body.dataset.state != 'loading'", 600)
            state = page.evaluate("document.body.dataset.state")
            seconds = time.perf_counter() - start
            print(f"{state} in {seconds:.1f} s")
            hand_over(Figure(f"{state} in headless Chromium", "s", seconds))


if __name__ == "__main__":
    main()
