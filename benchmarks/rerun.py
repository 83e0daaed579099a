"""Time a second run over a pool in which nothing changed, and count the raw files it opens.

    python benchmarks/rerun.py [--cases 2779]

The cases are links to one tiny CT and its label, in MSD's layout. A run indexes, screens and
prepares them. Openings in this process are counted by Python's audit hook; the second run is made
with workers that refuse to start.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import SimpleITK as sitk
from figures import Figure, hand_over

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.pool import prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.store import CaseStore
from tsfm_pipeline.workers import WorkerSettings
from tsfm_pipeline.workers.local import LocalExecutor

TABLE = LabelTable(targets={"liver": 1})
SOURCES = {"cases": MsdSource(layout="msd", folder="raw", labels={1: "liver"}).named("cases")}
SETTINGS = PreparationSettings(target_spacing=(1.0, 1.0, 1.0))


def make_raw(root: Path, cases: int) -> None:
    """Link one image and one label to as many cases."""
    noise = np.random.default_rng(0).integers(1, 100, (16, 24, 24)).astype(np.int16)
    contents = {"imagesTr": noise, "labelsTr": (noise > 50).astype(np.uint8)}
    for folder, array in contents.items():
        (root / "raw" / folder).mkdir(parents=True)
        first = root / f"{folder}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(array), str(first))
        for number in range(cases):
            os.link(first, root / "raw" / folder / f"case_{number:05}.nii.gz")
    pairs = [
        {
            "image": f"./imagesTr/case_{number:05}.nii.gz",
            "label": f"./labelsTr/case_{number:05}.nii.gz",
        }
        for number in range(cases)
    ]
    header = {"modality": {"0": "CT"}, "training": pairs}
    (root / "raw" / "dataset.json").write_text(json.dumps(header))


def run(root: Path) -> pd.DataFrame:
    """Index, screen and prepare."""
    workers = WorkerSettings()
    index = build_case_index(SOURCES, list(SOURCES), root)
    screened = screen_cases(index, SOURCES, TABLE, root / "screening", workers, verify=False)
    store = CaseStore(root / "store")
    return prepare_pool(index, screened, SOURCES, TABLE, SETTINGS, workers, store)


def main() -> None:
    """Print the seconds of both runs and what the second one opened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2779)
    cases = parser.parse_args().cases
    logging.disable(logging.WARNING)  # that they are fewer than the public release
    opened: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_raw(root, cases)
        start = time.perf_counter()
        before = run(root)
        middle = time.perf_counter()
        raw = str(root / "raw")
        sys.addaudithook(
            lambda event, args: (
                opened.append(str(args[0]))
                if event == "open" and str(args[0]).startswith(raw)
                else None
            )
        )
        refusal = AssertionError("a worker was started")
        with mock.patch.object(LocalExecutor, "submit", side_effect=refusal):
            after = run(root)
        end = time.perf_counter()
    assert before.equals(after)
    volumes = [path for path in opened if path.endswith(".nii.gz")]
    print(f"{cases} cases, {(after['verdict'] == 'ok').sum()} usable")
    print(f"first run {middle - start:.1f} s, second run {end - middle:.1f} s")
    print(f"raw volumes opened by the second run: {len(volumes)} ({len(opened)} files in all)")
    hand_over(
        Figure(f"{cases} tiny cases, first run", "s", middle - start),
        Figure(f"{cases} tiny cases, nothing changed", "s", end - middle),
        Figure("raw volumes opened where nothing changed", "files", len(volumes)),
    )


if __name__ == "__main__":
    main()
