"""Time screening and preparing a dataset against `nnUNetv2_preprocess`, with peak memory of both.

    python benchmarks/preparation.py --reference-python ENV/bin/python [--cases 16]
        [--shape 100 512 512] [--spacing 2.5 0.8 0.8] [--target 1.25 1 1] [--jobs 2]

ENV is an environment with nnunetv2. Both read the same gzipped int16 CT cases with labels, in
nnU-Net's raw format, with the same number of worker processes of one thread. Each runs once more
on as many tiny cases as there are workers; that time, its start-up, is taken off. Ours reads and
decodes every file twice, once to screen it; nnU-Net's fingerprint and plan are made before and not
counted. Memory is the proportional set size of the process tree at its peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from figures import Figure, hand_over
from scipy import ndimage

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.pool import prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.nnunet import NnunetSource
from tsfm_pipeline.store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

TARGETS = {"liver": 1, "kidney": 2, "tumor": 3}
TINY = (16, 32, 32)
REFERENCE = Path(__file__).parent / "reference" / "preprocess_nnunetv2.py"
_POLL_SECONDS = 0.05


def write_dataset(
    raw: Path, cases: int, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> float:
    """Write Dataset001 in nnU-Net's raw format; return its megabytes.

    A body of smooth tissue with the noise of a CT lies in air; organs are its densest parts.
    """
    folder = raw / "Dataset001_Benchmark"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    coarse = tuple(-(-size // 4) for size in shape)
    y, x = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    body = (y / 0.7) ** 2 + (x / 0.9) ** 2 < 1
    for number in range(cases):
        rng = np.random.default_rng(number)
        smooth = ndimage.gaussian_filter(rng.normal(size=coarse).astype(np.float32), 2)
        zoom = [size / small for size, small in zip(shape, coarse, strict=True)]
        smooth = ndimage.zoom(smooth / smooth.std(), zoom, order=1, grid_mode=True, mode="nearest")
        image = 40 + 60 * smooth + rng.normal(0, 15, shape).astype(np.float32)
        image[:, ~body] = -1000 + rng.normal(0, 8, (shape[0], int((~body).sum())))
        labels = np.where(body, np.digitize(smooth, (1.2, 1.8, 2.4)), 0)
        _write(folder / "imagesTr" / f"case_{number:02}_0000.nii.gz", np.rint(image), "i2", spacing)
        _write(folder / "labelsTr" / f"case_{number:02}.nii.gz", labels, "u1", spacing)
    header = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **TARGETS},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(header))
    return sum(file.stat().st_size for file in folder.rglob("*.gz")) / 1e6


def _write(path: Path, array: np.ndarray, dtype: str, spacing: tuple[float, float, float]) -> None:
    volume = sitk.GetImageFromArray(array.astype(dtype))
    volume.SetSpacing(spacing[::-1])
    sitk.WriteImage(volume, str(path), useCompression=True)


def prepare(raw: Path, target: tuple[float, float, float], jobs: int) -> None:
    """Screen and prepare Dataset001 in this process and its workers; print the seconds."""
    labels = {value: name for name, value in TARGETS.items()}
    source = NnunetSource(folder="Dataset001_Benchmark", labels=labels)
    sources = {"benchmark": source.named("benchmark")}
    table, workers = LabelTable(targets=TARGETS), WorkerSettings(jobs=jobs)
    settings = PreparationSettings(target_spacing=target)
    start = time.perf_counter()
    index = build_case_index(sources, ["benchmark"], raw)
    screened = screen_cases(index, sources, table, raw / "screening", workers, verify=False)
    store = CaseStore(raw / "store")
    catalogue = prepare_pool(index, screened, sources, table, settings, workers, store)
    seconds = time.perf_counter() - start
    assert (catalogue["verdict"] == "ok").all(), catalogue["verdict"]
    print(f"seconds {seconds:.3f}")


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command that prints its seconds; return them and the GB of its tree at the peak."""
    run = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = [0.0]

    def watch() -> None:
        while run.poll() is None:
            peak[0] = max(peak[0], _tree_gb(run.pid))
            time.sleep(_POLL_SECONDS)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, errors = run.communicate()
    watcher.join()
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors}")
    (line,) = (line for line in out.splitlines() if line.startswith("seconds "))
    return float(line.split()[1]), peak[0]


def _tree_gb(root: int) -> float:
    """Return the memory of a process and its descendants; pages that several share count once."""
    parents, total = {}, 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(fields[1])
    for process in parents:
        ancestor: int | None = process
        while ancestor is not None and ancestor != root:
            ancestor = parents.get(ancestor)
        if ancestor == root:
            try:
                lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / 1e9


def main() -> None:
    """Print one row per program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference-python", help="interpreter with nnunetv2")
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 512, 512))
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.5, 0.8, 0.8))
    parser.add_argument("--target", type=float, nargs=3, default=(1.25, 1.0, 1.0))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--ours", type=Path, help="prepare this folder (used by the script)")
    arguments = parser.parse_args()
    target = tuple(arguments.target)
    if arguments.ours:
        prepare(arguments.ours, target, arguments.jobs)
        return
    shape, jobs = tuple(arguments.shape), arguments.jobs
    spacing = tuple(arguments.spacing)
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "nnUNetv2_preprocess": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, cases, size in (("tiny", jobs, TINY), ("full", arguments.cases, shape)):
            raw = Path(folder) / name
            megabytes = write_dataset(raw, cases, size, spacing)
            options = ["--target", *map(str, target), "--jobs", str(jobs)]
            command = [sys.executable, __file__, "--ours", str(raw), *options]
            places = {
                "nnUNet_raw": raw,
                "nnUNet_preprocessed": raw / "preprocessed",
                "nnUNet_results": raw / "results",
            }
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            environment |= {key: str(place) for key, place in places.items()}
            found["ours"].append(measured(command, environment))
            if arguments.reference_python:
                command = [arguments.reference_python, str(REFERENCE), str(jobs)]
                command += map(str, target)
                found["nnUNetv2_preprocess"].append(measured(command, environment))
    print(
        f"{arguments.cases} cases of {shape} at {spacing} mm, {megabytes:.0f} MB, to {target} mm;"
        f" {jobs} workers\n"
    )
    print("| program | start-up s | s beyond it | s a case and worker | GB at the peak |")
    print("|---|---|---|---|---|")
    beyond, memory = {}, {}
    for name, runs in found.items():
        if not runs:
            continue
        (start_up, _), (seconds, peak) = runs
        beyond[name], memory[name] = seconds - start_up, peak
        each = beyond[name] * min(jobs, arguments.cases) / arguments.cases
        print(f"| {name} | {start_up:.1f} | {beyond[name]:.1f} | {each:.2f} | {peak:.2f} |")
    what = f"{arguments.cases} cases of {'x'.join(map(str, shape))}"
    if len(beyond) == 2:
        print(f"\nratio {beyond['nnUNetv2_preprocess'] / beyond['ours']:.1f}")
    names = ("ours", "nnUNetv2_preprocess")
    ours, theirs = ((beyond.get(name), memory.get(name)) for name in names)
    peer = names[1] if len(beyond) == 2 else ""
    hand_over(Figure(what, "s", ours[0], peer, theirs[0], ours[1], theirs[1]))


if __name__ == "__main__":
    main()
