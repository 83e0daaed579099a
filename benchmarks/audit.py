"""What the audit of labels adds to preparing a dataset, in one run.

    python benchmarks/audit.py [--cases 6] [--shape 100 512 512] [--jobs 2]

The cases are those of `benchmarks/preparation.py`. Timed are screening and preparing them, then the
audit, in a process that has read nothing of the store yet, and the audit once more.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

from figures import Figure, hand_over
from preparation import TARGETS, write_dataset

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.audit import audit_labels
from tsfm_pipeline.preparation.pool import prepare_pool
from tsfm_pipeline.preparation.screening import screen_cases
from tsfm_pipeline.preparation.settings import AuditSettings, PreparationSettings
from tsfm_pipeline.sources.case_index import build_case_index
from tsfm_pipeline.sources.nnunet import NnunetSource
from tsfm_pipeline.store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

SPACING = (2.5, 0.8, 0.8)
SETTINGS = PreparationSettings(target_spacing=(1.5, 1.0, 1.0))
AUDIT = AuditSettings(
    right_organs=("liver",),
    left_organs=("tumor",),
    levels=(("liver",), ("kidney",)),
    volume_ml=dict.fromkeys(TARGETS, (1.0, 5000.0)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--shape", type=int, nargs=3, default=(100, 512, 512))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    labels = {value: name for name, value in TARGETS.items()}
    source = NnunetSource(folder="Dataset001_Benchmark", labels=labels)
    sources = {"benchmark": source.named("benchmark")}
    table, workers = LabelTable(targets=TARGETS), WorkerSettings(jobs=options.jobs)
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name)
        write_dataset(raw, options.cases, tuple(options.shape), SPACING)
        store = CaseStore(raw / "store")
        start = time.perf_counter()
        index = build_case_index(sources, ["benchmark"], raw)
        screened = screen_cases(index, sources, table, raw / "screening", workers, verify=False)
        catalogue = prepare_pool(index, screened, sources, table, SETTINGS, workers, store)
        prepared = time.perf_counter() - start
        print(
            f"{options.cases} cases of {options.shape}: screened and prepared in {prepared:.2f} s"
        )
        for run in ("audited", "audited once more"):
            start = time.perf_counter()
            audit_labels(catalogue, store, table, AUDIT)
            seconds = time.perf_counter() - start
            share = 100 * seconds / prepared
            print(f"{run} in {seconds:.3f} s, {share:.2f} % of it")
            hand_over(Figure(f"{run}: share of screening and preparing", "%", share))


if __name__ == "__main__":
    main()
