"""What the figures show, and that they show it within their edges."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.reporting.test_markdown import PHANTOMS
from tsfm_pipeline.evaluation.statistics import bootstrap_interval
from tsfm_pipeline.network.diagram import trace_stages
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.reporting.figures.dice_over_time import draw_times
from tsfm_pipeline.reporting.figures.few_cases import RUN_COLUMNS, draw_few_cases
from tsfm_pipeline.reporting.figures.network_stages import draw_stages
from tsfm_pipeline.reporting.figures.style import PALETTE, titled_figure
from tsfm_pipeline.reporting.figures.table_dots import draw_table
from tsfm_pipeline.reporting.figures.target_boxes import draw_boxes
from tsfm_pipeline.reporting.figures.training_curves import draw_curves
from tsfm_pipeline.reporting.figures.transfer_budget import draw_budgets
from tsfm_pipeline.reporting.paper_tables import Scores
from tsfm_pipeline.reporting.provenance import Origin

LONG = dataclasses.replace(PHANTOMS, workspace="a workspace of many words " * 9)
DICE = np.array([0.5, 0.6, 0.7, 0.8])
KITS = "transfer.kits19"


@pytest.fixture
def comparison(comparison_of, scores_of):
    return comparison_of(
        scores_of(
            ("pretrain.tsfm", "kits21", "kidney", DICE),
            (f"{KITS}.pretrained.epoch10", "kits19", "kidney_tumor", DICE),
            (f"{KITS}.scratch.epoch10", "kits19", "kidney_tumor", DICE - 0.4),
        )
    )


def of(comparison, name):
    return comparison[comparison["table"] == name]


def series(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_dots_of_table_1_and_their_intervals(comparison, tables, nothing_is_cut):
    table = tables["table_1"].model_copy(update={"title": "A table of a long title " * 6})
    drawing = draw_table(of(comparison, "table_1"), table, LONG)
    (axes,) = drawing.figure.axes
    drawn = series(axes)
    assert drawn["TSFM, paper"].get_xdata().tolist() == [0.9650]
    assert drawn["TSFM, ours"].get_xdata() == pytest.approx([0.65])
    assert drawn["TSFM, ours"].get_ydata() == drawn["TSFM, paper"].get_ydata()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["KiTS2021 kidney"]
    (interval,) = axes.collections
    ((low, _), (high, _)) = interval.get_segments()[0]
    row = drawing.data[drawing.data["row"] == "Ours"].iloc[0]
    assert (low, high) == (row["ours_low"], row["ours_high"])
    assert low < 0.65 < high
    assert "11 columns without a figure of ours" in " ".join(
        drawing.figure.texts[1].get_text().split()
    )
    nothing_is_cut(drawing.figure)


@pytest.mark.parametrize(("name", "draw"), [("table_2", draw_budgets), ("table_3", draw_table)])
def test_the_papers_numbers_alone_are_not_drawn(
    name, draw, comparison_of, scores_of, tables, nothing_is_cut
):
    drawing = draw(of(comparison_of(scores_of()), name), tables[name], LONG)
    assert "Nothing of this table was run here" in drawing.figure.texts[1].get_text()
    assert not drawing.figure.axes and drawing.data.empty
    assert "ours_low" in drawing.data
    nothing_is_cut(drawing.figure)


def test_curves_over_the_budget(comparison, tables, nothing_is_cut):
    drawing = draw_budgets(of(comparison, "table_2"), tables["table_2"], LONG)
    _, kits, _ = drawing.figure.axes
    assert kits.get_title(loc="left") == "KiTS2019/tumor"
    drawn = series(kits)
    assert drawn["TSFM scratch, paper"].get_ydata().tolist() == [0.1306, 0.2221, 0.5589, 0.7413]
    ours = {str(bar.get_label()): bar.lines[0].get_ydata() for bar in kits.containers}
    assert ours["TSFM pretrained, ours"] == pytest.approx([0.65])
    assert ours["TSFM scratch, ours"] == pytest.approx([0.25])
    assert drawn["nnU-Net, paper"].get_ydata().tolist() == [0.8454]
    nothing_is_cut(drawing.figure)


def test_a_box_per_target_tumours_first(scores_of, evaluation, nothing_is_cut):
    scores = scores_of(
        ("pretrain.tsfm", "own", "liver", DICE),
        ("pretrain.tsfm", "own", "liver_tumor", DICE - 0.2),
        ("pretrain.other", "own", "liver_tumor", DICE - 0.3),
        ("transfer.x", "own", "liver", DICE),
    )
    drawing = draw_boxes(scores, ["pretrain.tsfm", "pretrain.other"], evaluation, LONG)
    (axes,) = drawing.figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["own liver_tumor", "own liver"]
    medians = [line.get_xdata() for line in axes.get_lines() if line.get_color() == "black"]
    assert [line[0] for line in medians if len(line) == 2 and line[0] == line[1]] == [
        *(pytest.approx(0.45), pytest.approx(0.65), pytest.approx(0.35))
    ]
    assert set(drawing.data["experiment"]) == {"pretrain.tsfm", "pretrain.other"}
    nothing_is_cut(drawing.figure)
    empty = draw_boxes(scores.iloc[:0], ["pretrain.tsfm"], evaluation, PHANTOMS)
    nothing_is_cut(empty.figure)


def test_a_panel_per_training(nothing_is_cut):
    names = [f"transfer.dataset{i}.pretrained.epoch100" for i in range(7)]
    epochs = [(name, i, 1.0 - i / 9, i / 10, i / 20) for name in names for i in range(8)]
    history = pd.DataFrame(epochs, columns=["experiment", "epoch", "loss", "dice", "dice_ema"])
    drawing = draw_curves(history, LONG)
    panels = [axes for axes in drawing.figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == names
    dice, average = panels[0].get_lines()
    assert dice.get_ydata().max() == 0.7 and average.get_ydata().max() == 0.35
    nothing_is_cut(drawing.figure)
    nothing_is_cut(draw_curves(history.iloc[:0], PHANTOMS).figure)


def test_dice_over_hours(comparison, tables, nothing_is_cut):
    origins = {f"{KITS}.pretrained.epoch10": Origin(hours=2.0)}
    provenance = dataclasses.replace(LONG, origins=origins)
    drawing = draw_times(of(comparison, "table_2"), tables["table_2"], provenance)
    assert drawing.data[["hours", "ours"]].to_numpy().tolist() == [[2.0, pytest.approx(0.65)]]
    nothing_is_cut(drawing.figure)


def test_few_cases_and_all_of_them(scores_of, nothing_is_cut):
    few, whole = ("study.few1.kits19.pretrained", f"{KITS}.pretrained.epoch10")
    runs = [
        (whole, "kits19", "from pretrain.tsfm", np.inf),
        (few, "kits19", "from pretrain.tsfm", 2.0),
        ("study.few1.own.scratch", "own", "from scratch", 2.0),
        ("study.few2.own.scratch", "own", "from scratch", np.nan),  # the settings leave it out
        ("transfer.other.scratch.epoch10", "other", "from scratch", np.inf),  # nothing few of it
    ]
    frame = pd.DataFrame(runs, columns=list(RUN_COLUMNS))
    scores = scores_of(
        *(
            (name, dataset, target, dice)
            for name, dataset, target, dice in (
                (few, "kits19", "kidney_tumor", DICE - 0.3),
                (few, "kits19", "kidney", DICE),
                (whole, "kits19", "kidney_tumor", DICE),
                ("study.few1.own.scratch", "own", "a", DICE),
                ("study.few1.own.scratch", "own", "b", DICE - 0.2),
                ("study.few2.own.scratch", "own", "a", DICE),
                ("transfer.other.scratch.epoch10", "other", "a", DICE),
            )
        )
    )
    parts = {"kits19": Scores(dataset="kits19", targets=("kidney_tumor",))}
    drawing = draw_few_cases(frame, scores, parts, 500, LONG)
    kits, own = drawing.figure.axes
    assert kits.containers[0].lines[0].get_ydata() == pytest.approx([0.35, 0.65])
    assert [label.get_text() for label in kits.get_xticklabels()] == ["2", "all"]
    assert own.containers[1].lines[0].get_ydata() == pytest.approx([0.55])
    assert set(drawing.data["dataset"]) == {"kits19", "own"} and len(drawing.data) == 3
    first = drawing.data.iloc[0]
    low, high = bootstrap_interval(DICE - 0.3, np.arange(4), 500)
    assert (first["low"], first["high"]) == pytest.approx((low, high))
    nothing_is_cut(drawing.figure)
    stale = dataclasses.replace(PHANTOMS, stale={few: "old"})
    assert set(draw_few_cases(frame, scores, parts, 500, stale).data["dataset"]) == {"own"}
    none = draw_few_cases(frame, scores.iloc[:0], parts, 500, PHANTOMS)
    assert none.data.empty
    nothing_is_cut(none.figure)


@pytest.mark.parametrize(("size", "patch"), [("huge", (112, 160, 192)), ("small6", (64, 64, 96))])
def test_every_stage_of_the_network_is_in_its_place(size, patch, nothing_is_cut):
    stages = trace_stages(SIZES[size], 1, 30, patch)
    drawing = draw_stages(stages, size)
    (axes,) = drawing.figure.axes
    places = {text.get_text().split("\n")[-1]: text.get_position() for text in axes.texts}
    for i in range(len(SIZES[size].strides) + 1):
        halved = np.prod([(1, 1, 1), *SIZES[size].strides[:i]], axis=0)
        channels, grid = SIZES[size].channels * 2**i, " x ".join(map(str, patch // halved))
        assert f"{channels} ch, {grid}" in places
        assert places[f"{channels} ch, {grid}"][1] == -i  # a resolution per row
    text = " ".join(text.get_text() for text in axes.texts)
    assert f"D, {SIZES[size].layers} layers of {SIZES[size].width}" in text
    skips = [
        t
        for t in axes.texts
        if getattr(t, "arrow_patch", None) is not None
        and t.arrow_patch.get_linestyle() in ("--", "dashed")
    ]
    assert len(skips) == len(SIZES[size].strides)
    assert drawing.data["stage"].tolist() == [stage.name for stage in stages]
    nothing_is_cut(drawing.figure)
    boxes = [patch.get_window_extent() for patch in axes.patches if patch.get_width() > 0.5]
    assert len(boxes) == len([s for s in stages if not s.name.startswith("up")])
    for box in boxes:  # no text is wider than its box
        inside = [
            t for t in axes.texts if box.contains(*t.get_window_extent().get_points().mean(0))
        ]
        for t in (t for t in inside if t.get_text()):
            extent = t.get_window_extent()
            assert box.x0 <= extent.x0 and extent.x1 <= box.x1, t.get_text()


def test_the_height_of_the_head_is_added(nothing_is_cut):
    short, long = (titled_figure(6, 3, "Title", "word " * n) for n in (1, 60))
    assert long.get_figheight() > short.get_figheight() > 3
    for figure in (short, long):
        figure.add_subplot().set_title("of the panel")
        nothing_is_cut(figure)


def test_colours_differ_for_readers_without_red_or_green():
    """Seen without the red-green axis (Vienot 1999, deuteranopia), all pairs stay apart."""
    linear = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in PALETTE]) ** 2.2
    to_lms = np.array([[17.88, 43.52, 4.12], [3.46, 27.16, 3.87], [0.03, 0.18, 1.47]])
    lms = linear @ to_lms.T
    lms[:, 1] = 0.494207 * lms[:, 0] + 1.24827 * lms[:, 2]
    seen = np.clip(lms @ np.linalg.inv(to_lms).T, 0, 1) ** (1 / 2.2)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distance[~np.eye(len(PALETTE), dtype=bool)].min() > 0.12
