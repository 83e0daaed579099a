"""Cost as work grows: seconds over cases and over experiments, and the slopes; docs/scale.svg.

    python benchmarks/scale.py [--cases 10 100 1000 2779] [--experiments 1 3 10 30 60]

Cases: a few built-in phantoms (msd_liver, about 26x20x14 voxels), each case with noise of its own.
So that these are many persons, thumbnails are compared but none correlates highly enough to count.
Timed are the nodes of the data pool, its page included (and, of them, the comparison of every two
cases), the same again, reading the catalogue, and what a training does until its first batch.
Experiments: folders of trainings at work for 1,000 epochs (status), and made-up scores of 100 cases
each: tests and tables (comparison), and the whole page (report). Slope 1 is a straight line: twice
as much work takes twice as long. Printed is the slope between the two largest numbers.
"""

import argparse
import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import report_page
import SimpleITK as sitk
from figures import Figure, hand_over
from matplotlib.figure import Figure as Drawing

from tsfm_pipeline.catalog import CheckedTableDataset
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.grid import GRID
from tsfm_pipeline.experiments.progress import Environment, progress_of_all
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.parameters import Parameters, load_parameters
from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.pipelines.data_pool import nodes
from tsfm_pipeline.planning.dataset_plan import plan_datasets
from tsfm_pipeline.pool.duplicates import find_duplicates
from tsfm_pipeline.pool.leakage import find_leakage
from tsfm_pipeline.pool.splits import split_cases
from tsfm_pipeline.pool.version import describe_version
from tsfm_pipeline.reporting.cell_statistics import with_statistics
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.markdown import markdown_table
from tsfm_pipeline.reporting.provenance import Origin, Provenance
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.describe import describe
from tsfm_pipeline.training.sampling import PatchDataset, make_loader
from tsfm_pipeline.training.task import TrainingTask

PROJECT = Path(__file__).parents[1]
DATASET, FOLDER = "msd_liver", "Task03_Liver"
PHANTOMS = 8
EPOCHS = 1000
CASES_SCORED = 100
REPEATS = 3
"""Of what takes less than a second."""
SUPER_LINEAR = 1.2
"""Slopes above it are named: up to it, a line that is not quite straight may be the measuring."""
CATALOGUE = "tsfm_pipeline.preparation.pool.POOL_CATALOGUE_SCHEMA"
Times = dict[str, dict[int, float]]


class Stopwatch:
    """Seconds by what was done and by how much of it."""

    def __init__(self) -> None:
        self.times: Times = {}

    @contextmanager
    def timed(self, what: str, number: int) -> Iterator[None]:
        """Time what happens inside; of several times the shortest counts."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        of_what = self.times.setdefault(what, {})
        of_what[number] = min(seconds, of_what.get(number, seconds))


def write_cases(root: Path, phantoms: Path, cases: int) -> None:
    """Write a dataset of phantoms with noise of their own; labels are links."""
    images = sorted((phantoms / FOLDER / "imagesTr").glob("liver_*.nii.gz"))
    header = json.loads((phantoms / FOLDER / "dataset.json").read_text())
    for folder in ("imagesTr", "labelsTr"):
        (root / FOLDER / folder).mkdir(parents=True)
    rng, pairs = np.random.default_rng(0), []
    for number in range(cases):
        source, name = images[number % len(images)], f"liver_{number}.nii.gz"
        image = sitk.ReadImage(str(source))
        array = sitk.GetArrayFromImage(image)
        noisy = sitk.GetImageFromArray((array + rng.normal(0, 10, array.shape)).astype(np.int16))
        noisy.CopyInformation(image)
        sitk.WriteImage(noisy, str(root / FOLDER / "imagesTr" / name))
        os.link(phantoms / FOLDER / "labelsTr" / source.name, root / FOLDER / "labelsTr" / name)
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    header |= {"training": pairs, "numTraining": cases, "test": [], "numTest": 0}
    (root / FOLDER / "dataset.json").write_text(json.dumps(header))


def make_pool(root: Path, given: Parameters) -> tuple[CaseStore, pd.DataFrame, pd.DataFrame, float]:
    """Run the nodes of the data pool.

    Returns:
        Store, catalogue, split, and the seconds of comparing every two cases.
    """
    sources, pool = given.datasets, given.pool
    index = nodes.index_cases(root / "raw", sources, pool)
    screened = nodes.screen_raw_cases(
        index, sources, given.labels, root / "screening", given.workers, given.screening
    )
    spacing = nodes.choose_target_spacing(screened, given.preparation, pool)
    store, catalogue = nodes.prepare_cases(
        index,
        screened,
        spacing,
        sources,
        given.labels,
        given.preparation,
        given.workers,
        given.screening,
        given.audit,
        root / "store",
    )
    start = time.perf_counter()
    duplicates, doubtful = find_duplicates(catalogue, store, pool)
    comparing = time.perf_counter() - start
    leakage = find_leakage(catalogue, duplicates, pool)
    splits = split_cases(catalogue, duplicates, pool, given.splits)
    plan_datasets(catalogue, store, spacing, given.planning)
    version = describe_version(catalogue, leakage, splits, pool, given.preparation)
    tables = nodes.tabulate_pool(catalogue, leakage, splits, sources, given.labels, pool, screened)
    nodes.write_pool_page(
        catalogue,
        *tables,
        leakage,
        duplicates,
        doubtful,
        version,
        version,
        store,
        root / "raw",
        root / "raw",
        sources,
        pool,
        given.reporting,
    )
    return store, catalogue, splits, comparing


def start_training(
    store: CaseStore, splits: pd.DataFrame, given: Parameters, folder: Path
) -> ModelCard:
    """Do what a training does before its first step, but for the network; return its card."""
    trained = tuple(splits.loc[splits["role"] == "training", "key"])
    task = TrainingTask(
        name="scale",
        settings=TrainingSettings(size="tiny", patch=(16, 16, 32), workers=0, device="cpu"),
        store=store.root,
        training=trained,
        validation=(),
        table=given.labels,
        regions=("liver",),
    )
    records = task.records()
    card = describe(task, records, ModelFolder(folder), resumed=False)
    samples = PatchDataset(task, "training", records, card.ct_statistics)
    next(iter(make_loader(samples, 0, samples.per_epoch, task.settings)))
    return card


def grow_cases(watch: Stopwatch, numbers: list[int], folder: Path) -> ModelCard:
    """Time all that grows with cases; return the card of a training on them."""
    phantoms = folder / "phantoms"
    generate_phantoms(PhantomSettings(cases={DATASET: PHANTOMS}, spacing_scale=2.0), phantoms)
    given = load_parameters(str(PROJECT / "conf"), "test")
    pool = given.pool.model_copy(
        update={
            "datasets": (DATASET,),
            "downstream": (),
            "duplicate_correlation": 1.0,
            "review_correlation": 1.0,
        }
    )
    given = given.model_copy(update={"pool": pool})
    for number in numbers:
        root = folder / str(number)
        write_cases(root / "raw", phantoms, number)
        with watch.timed("pool, first run", number):
            store, catalogue, splits, comparing = make_pool(root, given)
        watch.times.setdefault("of it, comparing every two cases", {})[number] = comparing
        with watch.timed("pool, nothing changed", number):
            make_pool(root, given)
        table = CheckedTableDataset(filepath=str(root / "catalogue.parquet"), schema=CATALOGUE)
        table.save(catalogue)
        for repeat in range(REPEATS):
            with watch.timed("reading the catalogue", number):
                table.load()
            with watch.timed("start of a training", number):
                card = start_training(store, splits, given, root / f"model_{repeat}")
        print(f"{number} cases: {(catalogue['verdict'] == 'ok').sum()} usable", flush=True)
    return card


def grow_experiments(watch: Stopwatch, numbers: list[int], folder: Path, card: ModelCard) -> None:
    """Time all that grows with experiments."""
    given = load_parameters(str(PROJECT / "conf"), "base")
    environment = Environment(
        settings=given.experiments,
        datasets=given.pool.datasets,
        pool="",
        models_root=folder / "models",
        predictions_root=folder / "predictions",
    )
    lines = "".join(
        json.dumps({"epoch": epoch, "train/loss": 0.1, "val/dice": 0.5}) + "\n"
        for epoch in range(EPOCHS - 1)
    )
    for experiment in GRID[: max(numbers)]:
        model = ModelFolder(environment.models_root / experiment.name / "digest")
        model.path.mkdir(parents=True)
        model.write_card(card)
        model.metrics.write_text(lines)
    for number in numbers:
        names = [experiment.name for experiment in GRID[:number]]
        for _ in range(REPEATS):
            with watch.timed("status", number):
                progress_of_all(GRID[:number], {}, environment, time.time())
        scores = report_page.made_up_scores(names, CASES_SCORED, given.paper_tables)
        history = report_page.made_up_history(names)
        origins = {name: Origin(digest="0" * 12, hours=1.0) for name in names}
        provenance = Provenance(
            workspace="scale", pool="0" * 8, leaking=0, phantoms=(DATASET,), origins=origins
        )
        resamples = given.evaluation.bootstrap_resamples
        with watch.timed("comparison", number):
            tests = compare_experiments(scores, COMPARISONS)
            summary = summarise(scores, resamples)
            for name, table in given.paper_tables.root.items():
                frame = build_table(name, table, summary, {})
                with_statistics(frame, table, scores, tests, resamples)
        with watch.timed("report", number):
            report_page.make_page(
                scores,
                history,
                report_page.made_up_slices(25),
                given.paper_tables,
                given.evaluation,
                provenance,
            )
        print(f"{number} experiments", flush=True)


def slope(seconds: dict[int, float]) -> float:
    """Return the slope of the logarithms between the two largest numbers."""
    small, large = sorted(seconds)[-2:]
    return math.log(seconds[large] / seconds[small]) / math.log(large / small)


def draw(panels: dict[str, Times]) -> None:
    """Draw the lines, with their slopes, beside a dotted one of slope 1."""
    mpl.rcParams["svg.hashsalt"] = "scale"  # the same file from the same figures
    mpl.rcParams["svg.fonttype"] = "none"
    drawing = Drawing(figsize=(9, 4.8), layout="constrained")
    for axes, (unit, times) in zip(drawing.subplots(1, len(panels)), panels.items(), strict=True):
        for what, seconds in times.items():
            axes.loglog(
                *zip(*seconds.items(), strict=True), "o-", label=f"{what}: {slope(seconds):.2f}"
            )
        numbers = sorted(seconds)
        straight = [number / numbers[-1] for number in numbers]
        axes.loglog(numbers, straight, ":", color="grey", label="slope 1")
        axes.set(xlabel=unit, ylabel="seconds")
        axes.set_xticks(numbers, [f"{number:,}" for number in numbers], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(
            fontsize="x-small",
            title="slope at the end",
            title_fontsize="x-small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=2,
        )
    drawing.savefig(PROJECT / "docs/scale.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 100, 1000, 2779])
    parser.add_argument("--experiments", type=int, nargs="+", default=[1, 3, 10, 30, 60])
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    cases, experiments = Stopwatch(), Stopwatch()
    with tempfile.TemporaryDirectory() as name:
        card = grow_cases(cases, sorted(arguments.cases), Path(name))
        grow_experiments(experiments, sorted(arguments.experiments), Path(name), card)
    panels = {"cases": cases.times, "experiments": experiments.times}
    for unit, times in panels.items():
        numbers = sorted(next(iter(times.values())))
        lines = []
        for what, seconds in times.items():
            steep = slope(seconds)
            note = "super-linear" if steep > SUPER_LINEAR else ""
            shown = [f"{seconds[number]:.3g}" for number in numbers]
            lines.append([what, *shown, f"{steep:.2f}", note])
            for number in numbers:
                hand_over(Figure(f"{what}, {number:,} {unit}", "s", seconds[number]))
            hand_over(Figure(f"{what}: slope at the end{note and ', ' + note}", "", steep))
        header = [unit, *(f"{number:,}" for number in numbers), "slope at the end", ""]
        print("\n" + markdown_table(header, lines, text_columns=1))
    draw(panels)


if __name__ == "__main__":
    main()
