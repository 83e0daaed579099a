"""Time and size of report.html: 60 experiments x 100 cases, from scores to page.

    python benchmarks/report_page.py

Scores, curves and slices are made up. What reads raw scans (a slice of 25 cases) is not timed.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from figures import Figure, hand_over

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORES_SCHEMA
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.pool.figures import as_svg
from tsfm_pipeline.reporting.case_slices import CaseSlice
from tsfm_pipeline.reporting.cell_statistics import with_statistics
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.example_cases import Example
from tsfm_pipeline.reporting.figures.case_panels import draw_examples, draw_failures
from tsfm_pipeline.reporting.figures.dice_over_time import draw_times
from tsfm_pipeline.reporting.figures.table_dots import draw_table
from tsfm_pipeline.reporting.figures.target_boxes import draw_boxes
from tsfm_pipeline.reporting.figures.training_curves import draw_curves
from tsfm_pipeline.reporting.figures.transfer_budget import draw_budgets
from tsfm_pipeline.reporting.paper_check import check_paper
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Origin, Provenance
from tsfm_pipeline.reporting.report_page import report_page
from tsfm_pipeline.reporting.report_tables import ReportTables
from tsfm_pipeline.reporting.training_history import HISTORY_COLUMNS

CONF = Path(__file__).parents[1] / "conf" / "base"
EPOCHS = 1000
SLICE = 220
ORGANS = 10
"""Targets beside those of the tables, per experiment."""
LIMIT_SECONDS, LIMIT_MB = 60, 15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=60)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--output", type=Path, help="where to write the page")
    arguments = parser.parse_args()

    parameters = {}
    for name in ("paper_tables", "experiments"):
        parameters |= yaml.safe_load((CONF / f"parameters_{name}.yml").read_text())
    tables = PaperTables.model_validate(parameters["paper_tables"])
    evaluation = EvaluationSettings.model_validate(parameters["evaluation"])
    names = list(EXPERIMENTS)[: arguments.experiments]
    names += [f"transfer.extra{i}" for i in range(arguments.experiments - len(names))]
    scores = made_up_scores(names, arguments.cases, tables)
    history = made_up_history(names)
    pictured = made_up_slices(25)
    provenance = Provenance(
        workspace="benchmark",
        pool="0" * 8,
        leaking=0,
        phantoms=("made_up",),
        datasets={"made_up": arguments.cases},
        origins={name: Origin(digest="0" * 12, hours=float(i + 1)) for i, name in enumerate(names)},
    )

    started, used = time.perf_counter(), time.process_time()
    page = make_page(scores, history, pictured, tables, evaluation, provenance)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    size = len(page.encode()) / 1e6
    print(f"{len(names)} experiments x {arguments.cases} cases, {len(scores)} scores")
    print(f"{seconds:.1f} s (limit {LIMIT_SECONDS}), {used:.1f} s of them on the processor")
    print(f"{size:.1f} MB (limit {LIMIT_MB})")
    what = f"{len(names)} experiments x {arguments.cases} cases"
    hand_over(
        Figure(what, "s", seconds),
        Figure(f"{what}, on the processor", "s", used),
        Figure(f"{what}: page", "MB", size),
    )
    if arguments.output:
        arguments.output.write_text(page)


def make_page(
    scores: pd.DataFrame,
    history: pd.DataFrame,
    pictured: list[tuple[Example, CaseSlice]],
    paper: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> str:
    tests = compare_experiments(scores, COMPARISONS)
    summary = summarise(scores, evaluation.bootstrap_resamples)
    frames = {
        name: with_statistics(
            build_table(name, table, summary, {}),
            table,
            scores,
            tests,
            evaluation.bootstrap_resamples,
        )
        for name, table in paper.root.items()
    }
    comparison = pd.concat(frames.values(), ignore_index=True)
    first, second, third = paper.root["table_1"], paper.root["table_2"], paper.root["table_3"]
    single = [
        (dataclasses.replace(example, systems={"TSFM": "pretrain.tsfm"}), cut)
        for example, cut in pictured[:12]
    ]
    drawings = [
        draw_table(frames["table_1"], first, provenance),
        draw_budgets(frames["table_2"], second, provenance),
        draw_table(frames["table_3"], third, provenance),
        draw_boxes(scores, ["pretrain.tsfm"], evaluation, provenance),
        draw_curves(history, provenance),
        draw_times(frames["table_2"], second, provenance),
        draw_examples(pictured[12:], 0, provenance),
        draw_failures(single, 0, provenance),
    ]
    statuses = [(name, "finished", "", provenance.pool) for name in provenance.origins]
    columns = ["experiment", "status", "reason", "pool_version"]
    parts = ReportTables(
        comparison=comparison,
        dice=dice_summary(summary, evaluation),
        tests=tests,
        statuses=pd.DataFrame(statuses, columns=columns),
        paper_check=check_paper(Cells.printed(paper), Cells.of(comparison, "ours")),
    )
    figures = [as_svg(drawing.figure) for drawing in drawings]
    return report_page(parts, paper, evaluation, provenance, figures)


def made_up_scores(names: list[str], cases: int, tables: PaperTables) -> pd.DataFrame:
    """Make every experiment's scores: the targets of its dataset in the tables, and organs."""
    random = np.random.default_rng(0)
    columns = tables.root["table_1"].columns
    parts = [(c.scores.dataset, t) for c in columns if c.scores for t in c.scores.targets]
    downstream = {
        c.key: (c.scores.dataset, c.scores.targets)
        for c in tables.root["table_3"].columns
        if c.scores
    }
    frames = []
    for name in names:
        targets = list(parts)
        for dataset, named in (value for key, value in downstream.items() if key in name):
            targets = [(dataset, t) for t in (() if named == "all" else named)]
        organs = [
            (targets[0][0] if targets else "abdomenct1k", f"organ_{i}") for i in range(ORGANS)
        ]
        for dataset, target in [*targets, *organs]:
            for weights in ("best", "final"):
                dice = random.beta(5, 2, cases)
                frames.append(
                    pd.DataFrame(
                        {
                            **dict.fromkeys(SCORES_SCHEMA.names, np.nan),
                            **{"experiment": name, "weights": weights, "protocol": AUTOMATIC},
                            **{"dataset": dataset, "target": target},
                            "case": [f"case_{i:04d}" for i in range(cases)],
                            "patient": [f"patient_{i:04d}" for i in range(cases)],
                            **{"dice": dice, "nsd": dice, "hd95": 10 * (1 - dice)},
                            **{"reference_voxels": 100, "prediction_voxels": 100},
                            **{"both_empty": False, "false_positive_on_empty": False},
                        }
                    )
                )
    return pd.concat(frames, ignore_index=True)


def made_up_history(names: list[str]) -> pd.DataFrame:
    random = np.random.default_rng(0)
    epoch = np.arange(EPOCHS)
    curve = 1 - np.exp(-epoch / 200)
    frames = [
        pd.DataFrame(
            {
                **{"experiment": name, "epoch": epoch, "loss": 1 - 2 * curve},
                "dice": 0.8 * curve + random.normal(0, 0.02, EPOCHS),
                "dice_ema": 0.8 * curve,
            }
        )
        for name in names
    ]
    return pd.concat(frames, ignore_index=True)[[*HISTORY_COLUMNS]]


def made_up_slices(count: int) -> list[tuple[Example, CaseSlice]]:
    random = np.random.default_rng(0)
    y, x = np.ogrid[:SLICE, :SLICE]
    found = []
    for i in range(count):
        mask = (y - 110) ** 2 + (x - 100) ** 2 < (20 + i) ** 2
        systems = {f"system {j}": "pretrain.tsfm" for j in range(5)} | {"TSFM": "pretrain.tsfm"}
        cut = CaseSlice(
            image_YX=random.normal(40, 20, (SLICE, SLICE)).astype(np.float32),
            window=(-20.0, 100.0),
            aspect=1.0,
            reference=[mask],
            predictions={heading: [np.roll(mask, 5, axis=1)] for heading in systems},
            note="partly",
        )
        dice = dict.fromkeys(systems, 0.8)
        found.append((Example(f"dataset_{i}/case", ("liver_tumor",), systems, dice), cut))
    return found


if __name__ == "__main__":
    main()
