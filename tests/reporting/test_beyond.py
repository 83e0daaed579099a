"""The table beyond the paper: what stands in it, by hand, and that every page shows it."""

import numpy as np
import pandas as pd
import pytest

from tests.reporting.test_markdown import PHANTOMS, parsed
from tests.reporting.test_report_page import Page
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.beyond import BEYOND_ROWS, own_rows
from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.pipelines.reporting.nodes import build_tables
from tsfm_pipeline.reporting.beyond import BEYOND, BeyondRow, with_table_beyond
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.latex import tables_latex
from tsfm_pipeline.reporting.paper_check import check_paper
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.report import report_markdown
from tsfm_pipeline.reporting.report_page import report_page
from tsfm_pipeline.reporting.report_tables import ReportTables

THYROID = [
    Experiment(name="own.thyroid_swin", role="transfer", datasets=("thyroid",), budget="epoch10"),
    Experiment(name="own.two_sets", role="ablation", datasets=("btcv", "amos22")),
]


@pytest.fixture
def report_of(tables, evaluation):
    """Return tables, definitions, and (block, row, column) -> cell of the table beyond."""

    def make(scores, rows=BEYOND_ROWS):
        shown = with_table_beyond(PaperTables.model_validate(tables), rows, scores, evaluation)
        tests = compare_experiments(scores, [])
        statuses = pd.DataFrame(columns=["experiment", "status", "reason"])
        comparison = build_tables(scores, statuses, tests, shown, evaluation, PHANTOMS)
        report = ReportTables(
            comparison=comparison,
            dice=dice_summary(summarise(scores, 10), evaluation),
            tests=tests,
            statuses=statuses.assign(pool_version=""),
            paper_check=check_paper(Cells({}), Cells({})),
        )
        own = comparison[comparison["table"] == BEYOND]
        return report, shown, own.set_index(["block", "row", "column"]).sort_index()

    return make


def test_there_is_no_table_where_only_the_papers_experiments_were_run(report_of, scores_of):
    scores = scores_of(
        ("pretrain.tsfm", "kits21", "kidney", [0.4, 0.6]),
        ("transfer.kits19.pretrained.epoch10", "kits19", "kidney_tumor", [0.4, 0.6]),
    )
    _, shown, cells = report_of(scores)
    assert BEYOND not in shown.root and cells.empty
    assert BEYOND not in report_of(scores.iloc[:0])[1].root


def test_a_variant_stands_below_the_network_that_it_is_a_variant_of(report_of, scores_of):
    scores = scores_of(
        ("pretrain.tsfm", "kits21", "kidney", [0.4, 0.6]),
        ("study.size_small", "kits21", "kidney", [0.2, 0.4]),
        ("study.size_small", "msd_liver", "liver", [0.7, 0.9]),
        ("study.size_small", "msd_liver", "liver_tumor", [0.1, 0.1]),
        ("study.without_transformer.kits19", "kits19", "kidney", [0.4, 0.8]),
        ("study.without_transformer.kits19", "kits19", "kidney_tumor", [0.2, 0.2]),
    )
    _, shown, cells = report_of(scores)
    (block,) = shown.root[BEYOND].blocks
    assert [r.name for r in block.rows] == ["TSFM", "TSFM without transformer", "TSFM size small"]
    small = cells.loc[block.name, "TSFM size small"]
    assert small.loc["pool_organs", "ours_best"] == pytest.approx((0.3 + 0.8) / 2)
    assert small.loc["pool_tumours", "ours_best"] == pytest.approx(0.1)
    assert cells.loc[(block.name, "TSFM", "pool_organs"), "ours_best"] == pytest.approx(0.5)
    other = cells.loc[block.name, "TSFM without transformer"]
    assert other.loc["kits19", "ours_best"] == pytest.approx((0.6 + 0.2) / 2)
    assert other.loc["kits19", "n"] == 2
    assert other.loc["kits19", "ours_low"] < 0.4 < other.loc["kits19", "ours_high"]
    assert other.loc["brats2020", "status"] == "not run"


def test_seeds_are_averaged_and_their_spread_stands_beside(report_of, scores_of, evaluation):
    first, *others = (
        f"{name}.kits19.scratch{budget}"
        for name, budget in (("transfer", ".epoch10"), ("study.seed1", ""), ("study.seed2", ""))
    )
    dices = {first: [0.5, 0.7], others[0]: [0.3, 0.3], others[1]: [0.1, 0.5]}
    scores = scores_of(*((name, "kits19", "kidney_tumor", dice) for name, dice in dices.items()))
    report, shown, cells = report_of(scores)
    cell = cells.loc[("Several seeds", "scratch", "kits19")]
    means = [0.6, 0.3, 0.3]
    assert cell["ours_best"] == pytest.approx(np.mean(means))
    assert cell["ours_sd"] == pytest.approx(pd.Series(means).std())
    assert cell["seeds"] == 3 and np.isnan(cell["ours_low"])
    one = scores[scores["experiment"] != others[1]]
    two = report_of(one)[2].loc[("Several seeds", "scratch", "kits19")]
    assert (two["seeds"], two["ours_best"]) == (2, pytest.approx(0.45))
    page = Page(report_page(report, shown, evaluation, PHANTOMS, ()))
    assert "0.4000 ± 0.173, 3 seeds n 2" in page.text
    latex = tables_latex(report.comparison, shown, PHANTOMS)
    assert r"$\pm$ 0.17 (3 seeds)" in latex


def test_ones_own_experiments_have_rows(report_of, scores_of, evaluation):
    scores = scores_of(
        ("transfer.thyroid.pretrained.epoch10", "thyroid", "thyroid", [0.5, 0.7]),
        ("transfer.thyroid.nnunet.epoch1000", "thyroid", "thyroid", [0.4, 0.4]),
        ("ablation.amos22.thyroid", "thyroid", "thyroid", [0.2, 0.4]),
        ("own.thyroid_swin", "thyroid", "thyroid", [0.8, 0.8]),
        ("own.two_sets", "btcv", "liver", [0.9, 0.7]),
    )
    rows = own_rows(["thyroid"], THYROID)
    report, shown, cells = report_of(scores, rows)
    block = "Transfers to your datasets"
    best = cells.loc[block].xs("thyroid", level="column")["ours_best"].dropna().to_dict()
    assert best == pytest.approx(
        {
            "pretrained, epoch10": 0.6,
            "nnunet, epoch1000": 0.4,
            "pre-trained on amos22, epoch100": 0.3,
        }
    )
    own = cells.loc["Your experiments"]
    assert own.loc[("own.thyroid_swin", "thyroid"), "ours_best"] == pytest.approx(0.8)
    assert own.loc[("own.two_sets", "pool_organs"), "ours_best"] == pytest.approx(0.8)
    text = report_markdown(report, shown, evaluation, PHANTOMS)
    table = text[text.index("## Beyond the paper") :].split("\n## ")[0]
    lines = {line[1]: line for line in parsed(table)[1]}
    assert lines["pretrained, epoch10"][2].startswith("0.6000 [0.500, 0.700] n 2")
    page = Page(report_page(report, shown, evaluation, PHANTOMS, ()))
    assert "own.thyroid_swin 0.8000" in page.text
    assert "#beyond" in page.links and "beyond" in page.ids
    latex = tables_latex(report.comparison, shown, PHANTOMS)
    assert latex.count(r"\begin{table}") == 6 and r"own.thyroid\_swin (ours) & 0.8000" in latex


def test_a_pool_of_ones_own_is_in_no_other_table(report_of, scores_of):
    scores = scores_of(("pretrain.tsfm", "hippocampus", "anterior", [0.5, 0.7]))
    _, shown, cells = report_of(scores)
    (block,) = shown.root[BEYOND].blocks
    assert cells.loc[(block.name, "TSFM", "pool_organs"), "ours_best"] == pytest.approx(0.6)


def test_every_study_of_the_grid_has_a_row() -> None:
    named = {name for row in BEYOND_ROWS for name in row.experiments}
    assert named <= set(EXPERIMENTS)
    studies = {name for name in EXPERIMENTS if name.startswith("study.")}
    assert studies <= named
    assert len({(row.block, row.heading) for row in BEYOND_ROWS}) == len(BEYOND_ROWS)


def test_a_block_before_makes_a_block_of_the_same_needless(report_of, scores_of):
    scores = scores_of(("own.a", "thyroid", "thyroid", [0.5, 0.7]))
    rows = [BeyondRow(block, "a", downstream={"thyroid": ["own.a"]}) for block in ("one", "two")]
    _, shown, _ = report_of(scores, rows)
    assert [block.name for block in shown.root[BEYOND].blocks] == ["one"]
