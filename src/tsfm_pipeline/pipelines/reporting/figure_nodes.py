"""Nodes of the reporting pipeline: figures, each with the table of what it shows."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.network.sizes import SIZES, SizeName
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.reporting.example_cases import (
    Example,
    failures,
    systems_of_tables,
    typical_cases,
)
from tsfm_pipeline.reporting.figures.dice_over_time import draw_times
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.table_dots import draw_table
from tsfm_pipeline.reporting.figures.target_boxes import draw_boxes
from tsfm_pipeline.reporting.figures.training_curves import draw_curves
from tsfm_pipeline.reporting.figures.transfer_budget import draw_budgets
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.case_index import case_from_row

if TYPE_CHECKING:
    from tsfm_pipeline.reporting.case_slices import CaseSlice


def draw_network(
    experiments: ExperimentSettings, pool: PoolSettings, supervision: pd.DataFrame
) -> Drawing:
    """Draw TSFM as it is pre-trained here (Fig. 1)."""
    from tsfm_pipeline.network.diagram import trace_stages
    from tsfm_pipeline.reporting.figures.network_stages import draw_stages

    training = experiments.training_of(EXPERIMENTS["pretrain.tsfm"])
    assert training is not None  # only a transfer's budget can be left out
    regions = supervision.loc[supervision["dataset"].isin(pool.datasets), "region"].nunique()
    size = SIZES[cast(SizeName, training.size)]
    stages = trace_stages(size, 1, regions, training.patch)
    return draw_stages(stages, training.size)


def draw_table_1(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Drawing:
    """Draw Table 1: the paper's numbers and ours, with intervals."""
    return draw_table(_of(comparison, "table_1"), paper_tables.root["table_1"], provenance)


def draw_table_2(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Drawing:
    """Draw Table 2: Dice over the transfer budget."""
    table = paper_tables.root["table_2"]
    return draw_budgets(_of(comparison, "table_2"), table, provenance)


def draw_table_3(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Drawing:
    """Draw Table 3: the paper's numbers and ours, with intervals."""
    return draw_table(_of(comparison, "table_3"), paper_tables.root["table_3"], provenance)


def draw_target_boxes(
    all_scores: pd.DataFrame,
    comparison: pd.DataFrame,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> Drawing:
    """Draw the Dice of every case for the experiments of Table 1."""
    named = dict.fromkeys(_of(comparison, "table_1")["experiment"])
    experiments = [name for name in named if name]
    return draw_boxes(provenance.current(all_scores), experiments, evaluation, provenance)


def draw_few_cases(
    all_scores: pd.DataFrame,
    experiments: ExperimentSettings,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> Drawing:
    """Draw Dice over the number of transfer cases; no part of the page where none was run."""
    from tsfm_pipeline.reporting.figures import few_cases

    runs = pd.DataFrame(_few_case_runs(experiments), columns=list(few_cases.RUN_COLUMNS))
    blocks = paper_tables.root["table_2"].blocks
    parts = {block.scores.dataset: block.scores for block in blocks if block.scores is not None}
    return few_cases.draw_few_cases(
        runs, all_scores, parts, evaluation.bootstrap_resamples, provenance
    )


def _few_case_runs(experiments: ExperimentSettings) -> list[tuple[str, str, str, float]]:
    """List the few-case transfers, and those of the same start and budget that take all cases."""

    def without_cases(entry: Experiment) -> Experiment:
        return entry.model_copy(update={"name": "a.b", "cases": None})

    few = [without_cases(entry) for entry in GRID if entry.cases is not None]
    runs = []
    for entry in GRID:
        if without_cases(entry) in few:
            start = "from scratch" if entry.initial is None else f"from {entry.initial}"
            number = np.inf
            if entry.cases is not None:
                number = experiments.transfer.cases.get(entry.cases) or np.nan
            runs.append((entry.name, entry.datasets[0], start, number))
    return runs


def draw_training_curves(models_root: Path, provenance: Provenance) -> Drawing:
    """Draw loss and pseudo-Dice of every training."""
    from tsfm_pipeline.model.folder import ModelFolder
    from tsfm_pipeline.reporting.training_history import read_history

    folders = {
        name: ModelFolder(models_root / origin.folder)
        for name, origin in provenance.origins.items()
        if origin.folder and name not in provenance.stale
    }
    return draw_curves(read_history(folders), provenance)


def draw_dice_over_time(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Drawing:
    """Draw the Dice of the transfers over the hours that they took."""
    table = paper_tables.root["table_2"]
    return draw_times(_of(comparison, "table_2"), table, provenance)


def draw_example_cases(
    all_scores: pd.DataFrame,
    comparison: pd.DataFrame,
    case_index: pd.DataFrame,
    predictions_root: Path,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    datasets: Datasets,
    labels: LabelTable,
    provenance: Provenance,
) -> Drawing:
    """Draw a typical case of every dataset with the predictions of all systems (Fig. 2)."""
    from tsfm_pipeline.reporting.figures.case_panels import draw_examples

    scores = provenance.current(all_scores)
    systems = systems_of_tables(comparison, scores, paper_tables)
    examples = typical_cases(scores, systems, evaluation)
    pictured = _read(examples, case_index, predictions_root, datasets, labels)
    return draw_examples(pictured, len(examples) - len(pictured), provenance)


def draw_worst_cases(
    all_scores: pd.DataFrame,
    comparison: pd.DataFrame,
    case_index: pd.DataFrame,
    predictions_root: Path,
    paper_tables: PaperTables,
    datasets: Datasets,
    labels: LabelTable,
    provenance: Provenance,
) -> Drawing:
    """Draw the worst cases of the first system on every dataset, with what went wrong."""
    from tsfm_pipeline.reporting.figures.case_panels import draw_failures

    scores = provenance.current(all_scores)
    systems = systems_of_tables(comparison, scores, paper_tables)
    first = dict.fromkeys(next(iter(of_dataset.values())) for of_dataset in systems.values())
    examples = failures(scores, list(first))
    pictured = _read(examples, case_index, predictions_root, datasets, labels)
    return draw_failures(pictured, len(examples) - len(pictured), provenance)


def _read(
    examples: list[Example],
    case_index: pd.DataFrame,
    predictions_root: Path,
    datasets: Datasets,
    labels: LabelTable,
) -> "list[tuple[Example, CaseSlice]]":
    from tsfm_pipeline.pipelines.reporting.records import predicted_files
    from tsfm_pipeline.reporting.case_slices import read_slices

    keys = {example.key for example in examples}
    rows = case_index[(case_index["dataset"] + "/" + case_index["case"]).isin(keys)]
    cases = {case.key: case for case in (case_from_row(row) for _, row in rows.iterrows())}
    experiments = {name for example in examples for name in example.systems.values()}
    files = predicted_files(predictions_root, experiments)
    return read_slices(examples, cases, datasets.root, labels, files)


def _of(comparison: pd.DataFrame, table: str) -> pd.DataFrame:
    return comparison[comparison["table"] == table]
