"""Nothing is prepared twice, and no kill, second run or full disk harms what is finished."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from threadpoolctl import threadpool_limits

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.preparation import pool as preparation_pool
from tsfm_pipeline.preparation.pool import estimated_memory, prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings

TABLE = LabelTable(targets={"liver": 5, "liver_tumor": 25, "colon_tumor": 7})
SETTINGS = PreparationSettings(target_spacing=(2.0, 1.0, 1.0))
LIVER = MsdSource(folder="Task03_Liver", labels={1: "liver", 2: "liver_tumor"}).named("liver")
OTHER_LIVER = LIVER.model_copy(update={"labels": {1: "liver", 2: "liver"}})
COLON = MsdSource(folder="Task10_Colon", labels={1: "colon_tumor", 2: None}).named("colon")
TWO = WorkerSettings(jobs=2)
SHAPE = (24, 60, 60)


def write_task(root: Path, source: MsdSource, cases: int, shapes: dict[int, tuple] | None = None):
    """Write a dataset in MSD's layout, with noise so that files do not compress to nothing."""
    task = root / source.folder
    for folder in ("imagesTr", "labelsTr"):
        (task / folder).mkdir(parents=True)
    for number in range(cases):
        shape = (shapes or {}).get(number, SHAPE)
        rng = np.random.default_rng(number)
        image = rng.normal(50, 200, shape).astype(np.int16)
        label = np.zeros(shape, np.uint8)
        label[2:-2, 5:20, 5:20] = 1
        label[4:-4, 8:12, 8:12] = 2
        for array, folder in ((image, "imagesTr"), (label, "labelsTr")):
            sitk.WriteImage(
                sitk.GetImageFromArray(array), str(task / folder / f"{number:02}.nii.gz")
            )
    pairs = [
        {"image": f"./imagesTr/{n:02}.nii.gz", "label": f"./labelsTr/{n:02}.nii.gz"}
        for n in range(cases)
    ]
    text = json.dumps({"modality": {"0": "CT"}, "training": pairs})
    (task / "dataset.json").write_text(text)


class Pool:
    """A raw root with a store; `run` prepares the named datasets."""

    def __init__(self, raw: Path, store: CaseStore) -> None:
        self.raw = raw
        self.store = store
        self._screened: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}

    def screen(self, sources: dict[str, MsdSource]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Index and screen, once for the same sources."""
        if repr(sources) not in self._screened:
            index = build_case_index(sources, list(sources), self.raw)
            cache = self.raw.parent / "screening"
            found = screen_cases(index, sources, TABLE, cache, TWO, verify=False)
            self._screened[repr(sources)] = index, found
        return self._screened[repr(sources)]

    def run(
        self,
        sources: dict[str, MsdSource],
        settings: PreparationSettings = SETTINGS,
        **options: bool,
    ) -> pd.DataFrame:
        index, screened = self.screen(sources)
        catalogue = prepare_pool(
            index, screened, sources, TABLE, settings, TWO, self.store, **options
        )
        return catalogue.set_index("key")

    def files(self) -> dict[str, tuple[int, bytes]]:
        """What every file of the store is (inode) and holds; hidden ones, too."""
        return {
            str(path.relative_to(self.store.root)): (path.stat().st_ino, path.read_bytes())
            for path in self.store.root.rglob("*")
            if path.is_file()
        }

    def contents(self) -> dict[str, bytes]:
        return {name: content for name, (_, content) in self.files().items()}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    write_task(tmp_path / "raw", LIVER, 6)
    return Pool(tmp_path / "raw", CaseStore(tmp_path / "store"))


def test_only_what_is_new_is_prepared(pool) -> None:
    sources = {"liver": LIVER}
    before = pool.run(sources)
    first = pool.files()
    pd.testing.assert_frame_equal(pool.run(sources), before)
    assert pool.files() == first

    write_task(pool.raw, COLON, 2)
    both = pool.run({**sources, "colon": COLON})
    assert list(both["verdict"]) == ["ok"] * 8
    assert {name: file for name, file in pool.files().items() if name in first} == first
    pool.run({"colon": COLON})  # a leakage-free subset, for instance
    assert pool.files().keys() > first.keys()

    changed = pool.run({"liver": OTHER_LIVER})
    assert list(changed["targets"]) != list(before["targets"])
    after = pool.files()
    for name, file in first.items():
        assert (after[name] == file) == name.endswith("image.b2nd"), name


def test_verify_makes_a_changed_file_again(pool, caplog) -> None:
    pool.run({"liver": LIVER})
    good = pool.contents()
    path = pool.store.root / "liver" / "03" / "image.b2nd"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    pool.run({"liver": LIVER})
    assert pool.contents() != good
    assert "damaged" not in caplog.text
    pool.run({"liver": LIVER}, verify=True)
    assert pool.contents() == good
    (said,) = [text for text in caplog.messages if "damaged" in text]
    assert said == "liver/03: its stored files were damaged, prepared again"


def start(target: Callable[..., object], *args: object) -> multiprocessing.Process:
    """Run in a process that leads a group of its own, so that its workers die with it."""

    def leading() -> None:
        os.setsid()
        target(*args)
        os._exit(0)  # else it would wait for its workers, which wait for more work

    process = multiprocessing.get_context("fork").Process(target=leading)
    process.start()
    return process


def one_by_one(function, tasks, *_):
    for key, args in tasks.items():
        with threadpool_limits(1):  # as in a worker: sums by two threads may end in another bit
            result = function(*args)
        yield key, result


VARIANTS = [
    (LIVER, SETTINGS),
    (OTHER_LIVER, SETTINGS),
    (LIVER, PreparationSettings(target_spacing=(1.0, 1.5, 1.5))),
]


@pytest.mark.parametrize(("kills", "in_workers"), [(20, False), (3, True)])
def test_kills_at_random_moments_harm_nothing(pool, monkeypatch, kills, in_workers) -> None:
    """SIGKILL comes while cases are written, replaced, or given other labels.

    In workers, starting them takes most of the time; without them there are more kills.
    """
    chance = random.Random(7)
    sources = {"liver": LIVER}
    pool.run(sources)
    undisturbed = pool.contents()
    for source, _ in VARIANTS:
        pool.screen({"liver": source})
    shutil.rmtree(pool.store.root)
    folder = pool.store.root / "liver"
    folder.mkdir(parents=True)
    if not in_workers:
        monkeypatch.setattr(preparation_pool, "run_cases", one_by_one)

    broken_off = 0
    for number in range(kills):
        source, settings = VARIANTS[number % len(VARIANTS)]
        before = folder.stat().st_mtime_ns
        run = start(pool.run, {"liver": source}, settings)
        while run.is_alive() and folder.stat().st_mtime_ns == before:  # nothing begun
            time.sleep(0.001)
        run.join(chance.uniform(0, 0.15))
        if run.is_alive():
            broken_off += 1
            os.killpg(run.pid, signal.SIGKILL)
        run.join()
        for key in pool.store.keys():
            assert pool.store.intact_record(key, verify=True) is not None, (number, key)
    assert broken_off > kills / 2
    assert list(pool.run(sources)["verdict"]) == ["ok"] * 6
    assert pool.contents() == undisturbed


def test_two_runs_at_once_leave_one_whole_pool(pool) -> None:
    pool.run({"liver": LIVER})
    expected = pool.contents()
    shutil.rmtree(pool.store.root)
    runs = [start(pool.run, {"liver": LIVER}) for _ in range(2)]
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    assert pool.contents() == expected


def run_on_a_small_disk(pool: Pool, send) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        pool.run({"liver": LIVER})
    except MachineError as error:
        send.send(str(error))


def test_a_full_disk_is_no_verdict_on_a_case(tmp_path) -> None:
    """A limit on the size of a file, which the system reports as it does a full disk."""
    write_task(tmp_path / "raw", LIVER, 3, shapes={1: (48, 120, 120)})
    pool = Pool(tmp_path / "raw", CaseStore(tmp_path / "store"))
    receive, send = multiprocessing.Pipe(duplex=False)
    start(run_on_a_small_disk, pool, send).join(60)
    assert receive.poll()
    line = receive.recv()
    assert line.startswith(f"liver/01: no room in {pool.store.root}: File too large; free some")
    assert "the same command goes on" in line and "\n" not in line
    assert list(pool.run({"liver": LIVER})["verdict"]) == ["ok"] * 3
    # what the run's end cut short of other cases is gone by now
    assert not [name for name in pool.contents() if "/." in name]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here ({error})")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_gets_full_stops_the_run_and_room_lets_it_go_on(tmp_path, small_disk) -> None:
    write_task(tmp_path / "raw", LIVER, 10)
    pool = Pool(tmp_path / "raw", CaseStore(small_disk / "store"))
    with pytest.raises(MachineError, match=f"no room in {pool.store.root}: No space left"):
        pool.run({"liver": LIVER})
    # beside them may lie what the end of the run cut short
    finished = {name: file for name, file in pool.files().items() if "/." not in name}
    assert finished
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert list(pool.run({"liver": LIVER})["verdict"]) == ["ok"] * 10
    assert finished.items() <= pool.files().items()


def test_a_case_that_memory_does_not_hold_is_no_verdict(pool, monkeypatch) -> None:
    monkeypatch.setattr(
        preparation_pool,
        "run_cases",
        lambda *_: iter([("liver/03", WorkerFailure("ran out of memory", "", of_machine=True))]),
    )
    with pytest.raises(MachineError, match="liver/03: ran out of memory"):
        pool.run({"liver": LIVER})


def test_estimates_grow_with_the_file_and_with_what_is_stored() -> None:
    def estimate(
        shape=(100, 512, 512), spacing=(2.5, 0.8, 0.8), channels=1, target=(2.5, 0.8, 0.8)
    ):
        return estimated_memory(
            shape, spacing, channels, PreparationSettings(target_spacing=target)
        )

    first = estimate()
    assert first > 100 * 512 * 512 * (4 + 4)
    for larger in (
        estimate(shape=(200, 512, 512)),
        estimate(channels=4),
        estimate(target=(1.0, 0.8, 0.8)),
    ):
        assert larger > first
    assert estimate(target=None) == first
