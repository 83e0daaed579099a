"""Nodes of the reporting pipeline: figures, each as picture, SVG, and table of what it shows."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.pool.figures import as_svg
from tsfm_pipeline.reporting.figures.dice_over_time import draw_times
from tsfm_pipeline.reporting.figures.style import Drawing
from tsfm_pipeline.reporting.figures.table_dots import draw_table
from tsfm_pipeline.reporting.figures.target_boxes import draw_boxes
from tsfm_pipeline.reporting.figures.training_curves import draw_curves
from tsfm_pipeline.reporting.figures.transfer_budget import draw_budgets
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Provenance

Parts = tuple[Figure, str, pd.DataFrame]


def draw_table_1(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Parts:
    """Draw Table 1: the paper's numbers and ours, with intervals."""
    return _parts(draw_table(_of(comparison, "table_1"), paper_tables.root["table_1"], provenance))


def draw_table_2(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Parts:
    """Draw Table 2: Dice over the transfer budget."""
    table = paper_tables.root["table_2"]
    return _parts(draw_budgets(_of(comparison, "table_2"), table, provenance))


def draw_table_3(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Parts:
    """Draw Table 3: the paper's numbers and ours, with intervals."""
    return _parts(draw_table(_of(comparison, "table_3"), paper_tables.root["table_3"], provenance))


def draw_target_boxes(
    all_scores: pd.DataFrame,
    comparison: pd.DataFrame,
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> Parts:
    """Draw the Dice of every case for the experiments of Table 1."""
    named = dict.fromkeys(_of(comparison, "table_1")["experiment"])
    experiments = [name for name in named if name]
    return _parts(draw_boxes(all_scores, experiments, evaluation, provenance))


def draw_training_curves(models_root: Path, provenance: Provenance) -> Parts:
    """Draw loss and pseudo-Dice of every training."""
    from tsfm_pipeline.model.folder import ModelFolder
    from tsfm_pipeline.reporting.training_history import read_history

    folders = {
        name: ModelFolder(models_root / origin.folder)
        for name, origin in provenance.origins.items()
        if origin.folder
    }
    return _parts(draw_curves(read_history(folders), provenance))


def draw_dice_over_time(
    comparison: pd.DataFrame, paper_tables: PaperTables, provenance: Provenance
) -> Parts:
    """Draw the Dice of the transfers over the hours that they took."""
    table = paper_tables.root["table_2"]
    return _parts(draw_times(_of(comparison, "table_2"), table, provenance))


def _of(comparison: pd.DataFrame, table: str) -> pd.DataFrame:
    return comparison[comparison["table"] == table]


def _parts(drawing: Drawing) -> Parts:
    return drawing.figure, as_svg(drawing.figure), drawing.data
