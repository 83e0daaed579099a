"""What the two ways in, the pool's and `tsfm-predict`'s, say of the damaged files."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.scans.conftest import TABLE
from tests.scans.damage import damaged_files
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.preparation.screening import screen_case
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.scans.finding import Scan
from tsfm_pipeline.scans.loading import load_scan
from tsfm_pipeline.scans.reader_process import ReaderProcess
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.source import SourceCase

SOURCE = MsdSource(layout="msd", folder="any", labels={1: "liver"}).named("any")


@dataclass(frozen=True)
class Verdicts:
    """What the two ways in say of a file; empty where they take it.

    Attributes:
        pool: why the pool quarantines it.
        predict: why `tsfm-predict` refuses it.
        seconds: of computing, the longer of the two.
        kilobytes: the most that the process has ever held.
        mended: what each repaired.
    """

    pool: str
    predict: str
    seconds: float
    kilobytes: int
    mended: tuple[str, str]


def both_ways(path: Path, card: ModelCard) -> Verdicts:
    """Screen a file as a pool does, and read it as `tsfm-predict` does."""
    case = SourceCase("any", path.parent.name, "any/p", "CT", (path,), ())
    mended = {"pool": "", "predict": ""}

    def pool() -> str:
        found = screen_case(case, SOURCE, TABLE).found
        bad = found["verdict"] == Verdict.QUARANTINED
        mended["pool"] = "" if bad else str(found["cause"])
        return str(found["cause"]) if bad else ""

    def predict() -> str:
        try:
            mended["predict"] = "; ".join(load_scan(Scan("x", (path,)), card, "CT").notes)
        except ValueError as error:  # whatever else is raised is no verdict
            return str(error)
        return ""

    said, seconds = zip(*map(_timed, (pool, predict)), strict=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Verdicts(*said, max(seconds), peak, (mended["pool"], mended["predict"]))


def _timed(way: Callable[[], str]) -> tuple[str, float]:
    started = time.process_time()
    return way(), time.process_time() - started


def all_verdicts(folder: Path, count: int, card: ModelCard) -> dict[str, Verdicts]:
    """Write the damaged files, and read each in both ways, all in one process.

    Series of DICOM slices are left out: no pool takes them.

    Returns:
        `NUMBER_DAMAGE/scan.SUFFIX` -> what was said.

    Raises:
        AssertionError: a file got no verdict.
    """
    files = [path for path in damaged_files(folder, count) if path.is_file()]
    tasks = {f"{path.parent.name}/{path.name}": (path, card) for path in files}
    with ReaderProcess() as reader:
        found = dict(reader.map(both_ways, tasks, seconds=120))
    verdicts = {name: said for name, said in found.items() if isinstance(said, Verdicts)}
    assert verdicts.keys() == found.keys(), found.keys() - verdicts.keys()
    return verdicts
