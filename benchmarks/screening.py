"""Time of screening: reading a CT, and a re-run in which nothing changed.

    python benchmarks/screening.py [--cases 2779] [--size 100 512 512]

The cases are links to one tiny volume, 43 % of them with 17 masks, which is TotalSegmentator's
share of the paper's pool. Files that this process opens are counted by Python's audit hook; where
nothing changed, no worker is started.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from figures import Figure, hand_over
from scipy import ndimage

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.imaging.volume import read_image
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource
from tsfm_pipeline.workers import WorkerSettings

CLASSES = [f"class_{number}" for number in range(1, 18)]
TABLE = LabelTable(targets={name: number for number, name in enumerate(CLASSES, 1)})
SOURCES = {
    "maps": MsdSource(layout="msd", folder="maps", labels={1: CLASSES[0]}).named("maps"),
    "masks": TotalSegmentatorSource(
        layout="totalsegmentator", folder="masks", labels={name: name for name in CLASSES}
    ).named("masks"),
}


def link(template: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(template, target)


def make_raw(root: Path, cases: int) -> None:
    image, label = root / "image.nii.gz", root / "label.nii.gz"
    noise = np.random.default_rng(0).integers(1, 100, (8, 8, 8)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(image))
    sitk.WriteImage(sitk.GetImageFromArray((noise > 50).astype(np.uint8)), str(label))
    masks = round(0.43 * cases)
    for number in range(cases - masks):
        link(image, root / f"maps/imagesTr/case_{number:04d}.nii.gz")
        link(label, root / f"maps/labelsTr/case_{number:04d}.nii.gz")
    (root / "maps/dataset.json").write_text('{"modality": {"0": "CT"}}')
    for number in range(masks):
        folder = root / f"masks/s{number:04d}"
        link(image, folder / "ct.nii.gz")
        for name in CLASSES:
            link(label, folder / f"segmentations/{name}.nii.gz")


def time_reading(folder: Path, size: list[int]) -> None:
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.normal(0, 1, size).astype(np.float32), 2)
    image = (smooth * 3000 + random.normal(0, 12, size)).astype(np.int16)
    path = folder / "ct.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(image), str(path))

    def simple_itk() -> np.ndarray:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)

    times: dict[str, list[float]] = {}
    for _ in range(5):
        for name, read in (("read_image", lambda: read_image([path])), ("SimpleITK", simple_itk)):
            start = time.perf_counter()
            read()
            times.setdefault(name, []).append(time.perf_counter() - start)
    print(f"CT of {size} int16, {path.stat().st_size / 1e6:.0f} MB packed:")
    for name, seconds in times.items():
        print(f"  {name:12} {min(seconds):.2f} s")
    ours, theirs = (min(times[name]) for name in ("read_image", "SimpleITK"))
    sides = "x".join(map(str, size))
    hand_over(Figure(f"reading a packed CT of {sides}", "s", ours, "SimpleITK", theirs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2779)
    parser.add_argument("--size", type=int, nargs=3, default=[100, 512, 512])
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    opened: list[str] = []

    def hear(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | Path):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        time_reading(folder, options.size)
        raw = folder / "raw"
        raw.mkdir()
        make_raw(raw, options.cases)
        index = build_case_index(SOURCES, list(SOURCES), raw)
        for run in ("first run", "nothing changed"):
            opened.clear()
            start = time.perf_counter()
            table = screen_cases(
                index, SOURCES, TABLE, folder / "screening", WorkerSettings(), verify=False
            )
            seconds = time.perf_counter() - start
            assert set(table["verdict"]) == {"ok"}
            volumes = sum(path.endswith(".nii.gz") for path in opened)
            print(f"{len(table)} cases, {run}: {seconds:.1f} s, {volumes} volumes opened here")
            hand_over(Figure(f"screening {len(table)} tiny cases, {run}", "s", seconds))


if __name__ == "__main__":
    main()
