from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.text import Text

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, SCORES_SCHEMA
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import SUMMARY_COLUMNS, summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.reporting.cell_statistics import with_statistics
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.paper_tables import PaperTables

BASE = Path(__file__).parents[2] / "conf" / "base"


@pytest.fixture(scope="session")
def base_parameters():
    parameters = {}
    for name in ("paper_tables", "experiments"):
        parameters |= yaml.safe_load((BASE / f"parameters_{name}.yml").read_text())
    return parameters


@pytest.fixture(scope="session")
def tables(base_parameters):
    return PaperTables.model_validate(base_parameters["paper_tables"]).root


@pytest.fixture(scope="session")
def evaluation(base_parameters):
    return EvaluationSettings.model_validate(base_parameters["evaluation"])


@pytest.fixture
def summary_of():
    """Make a summary from (experiment, weights, dataset, target, dice) rows of 4 cases each."""
    counts = {"n": 4, "n_both_empty": 1, "n_false_positive_on_empty": 0, "n_missed": 2}

    def make(*rows, **others):
        names = ("experiment", "weights", "dataset", "target", "dice")
        filled = [
            {**dict(zip(names, row, strict=True)), "protocol": AUTOMATIC, **counts, **others}
            for row in rows
        ]
        return pd.DataFrame(filled, columns=list(SUMMARY_COLUMNS))

    return make


@pytest.fixture
def scores_of():
    """Make scores from (experiment, dataset, target, dice of each patient) rows."""

    def make(*rows, weights=("best", "final")):
        lines = [
            {
                **dict.fromkeys(SCORES_SCHEMA.names, np.nan),
                **{"experiment": experiment, "weights": name, "protocol": AUTOMATIC},
                **{"dataset": dataset, "case": f"c{i}", "patient": f"p{i}", "target": target},
                **{"dice": dice, "both_empty": False, "false_positive_on_empty": False},
                **{"reference_voxels": 9, "prediction_voxels": 9},
            }
            for experiment, dataset, target, dices in rows
            for name in weights
            for i, dice in enumerate(dices)
        ]
        return pd.DataFrame(lines, columns=SCORES_SCHEMA.names)

    return make


@pytest.fixture
def comparison_of(tables):
    """Build all tables in long form from scores."""

    def make(scores, statuses=None, stale=()):
        tests = compare_experiments(scores, COMPARISONS)
        summary = summarise(scores, resamples=1)
        frames = [
            with_statistics(
                build_table(name, table, summary, statuses or {}, stale), table, scores, tests, 500
            )
            for name, table in tables.items()
        ]
        return pd.concat(frames, ignore_index=True)

    return make


@pytest.fixture
def nothing_is_cut():
    """Check that all texts of a figure lie within it, and that no title covers another's."""

    def check(figure):
        figure.set_dpi(120)
        figure.draw_without_rendering()
        ticks = {
            label
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for label in axis.get_ticklabels(which="both")
        }  # matplotlib keeps some beyond the axis, and never draws them
        for text in figure.findobj(Text):
            if text.get_text() and text.get_visible() and text not in ticks:
                box = text.get_window_extent()
                assert box.x0 >= 0 and box.y0 >= 0, text.get_text()
                assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text.get_text()
        title, caption = (text.get_window_extent() for text in figure.texts[:2])
        assert caption.y1 <= title.y0
        assert all(axes.get_tightbbox().y1 <= caption.y0 + 1 for axes in figure.axes)

    return check
