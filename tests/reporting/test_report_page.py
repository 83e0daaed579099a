"""The page: what it says, that its links resolve, and that nothing in it is read as markup."""

import dataclasses
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from tests.reporting.test_markdown import PHANTOMS, REAL
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.reporting.cells import Cells
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.paper_check import check_paper
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Origin
from tsfm_pipeline.reporting.report_page import report_page
from tsfm_pipeline.reporting.report_tables import ReportTables

PRETRAINED, SCRATCH = (f"transfer.kits19.{start}.epoch10" for start in ("pretrained", "scratch"))
VOID = {"meta", "br", "img", "path", "link"}
LINEAGE = "http://127.0.0.1:4141/"


class Page(HTMLParser):
    """Collects ids, links, sources, texts per element class, and checks that elements nest."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources, self.tags, self.words = [], [], [], [], []
        self._open = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.words += data.split()

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture
def page_of(tables, evaluation, comparison_of):
    def make(scores, statuses=(), provenance=PHANTOMS, figures=(), cases=()):
        comparison = comparison_of(scores, dict(row[:2] for row in statuses), provenance.stale)
        paper = PaperTables.model_validate(tables)
        parts = ReportTables(
            comparison=comparison,
            dice=dice_summary(summarise(scores, 100), evaluation),
            tests=compare_experiments(scores, COMPARISONS),
            statuses=pd.DataFrame(statuses, columns=["experiment", "status", "reason"]),
            paper_check=check_paper(Cells.printed(paper), Cells.of(comparison, "ours")),
        )
        return report_page(parts, paper, evaluation, provenance, figures, cases)

    return make


@pytest.fixture
def scores(scores_of):
    dice = np.linspace(0.5, 0.7, 10)
    return scores_of(
        ("pretrain.tsfm", "msd_liver", "liver_tumor", dice),
        (PRETRAINED, "kits19", "kidney_tumor", dice),
        (SCRATCH, "kits19", "kidney_tumor", dice - 0.4),
    )


def test_the_first_screen_says_what_was_run_on_what(page_of, scores):
    known = {"environment": "test", "datasets": {"msd_liver": 7, "kits19": 5}}
    statuses = [
        ("pretrain.tsfm", "finished", ""),
        ("transfer.x", "failed", "disk full"),
        ("transfer.y", "not run", "left out"),
        ("pretrain.sam_med3d", "needs checkpoint", ""),
    ]
    both = dataclasses.replace(PHANTOMS, phantoms=("msd_liver", "kits19"), **known)
    synthetic = page_of(scores, statuses, both)
    top = Page(synthetic[: synthetic.index('<h2 id="table_1"')] + "</body></html>").text
    assert "Synthetic phantoms, not patients." in top
    assert "Environment test" in top and "2 datasets, 12 cases: msd_liver 7, kits19 5" in top
    assert "0.6000 paper 0.6209" in top  # mean tumour Dice of what there is
    assert "+0.4000 paper +0.5417" in top  # gain by pre-training
    assert "1 experiment failed: disk full transfer.x" in top
    assert "2 experiments not run: left out transfer.* (2)" not in top  # transfer.x failed
    assert "1 experiment not run: left out transfer.y" in top
    assert "1 experiment needs checkpoint" in top
    mixed = page_of(scores, provenance=dataclasses.replace(both, phantoms=("msd_liver",)))
    assert "Synthetic phantoms, not patients: msd_liver. Real data: kits19." in Page(mixed).text
    real = page_of(scores, provenance=dataclasses.replace(REAL, **known))
    assert "Real data" in real and "phantom" not in real.lower()


def test_pictured_cases_stand_with_the_command_that_shows_them(page_of, scores):
    case = {"case": "kits19/c0", "targets": "kidney", "system": "Ours", "experiment": "a.b.c"}
    cases = [pd.DataFrame([{**case, "dice": 0.25, "note": "missed"}])]
    cases.append(pd.DataFrame([{**case, "dice": 0.75, "note": np.nan}]))  # as read from a CSV
    known = dataclasses.replace(REAL, environment="paper")
    page = page_of(scores, provenance=known, cases=cases)
    command = "tsfm-pipeline view --env paper kits19/c0 --experiment a.b.c"
    assert f"kits19/c0 Ours kidney 0.250 missed {command}" in Page(page).text
    assert f"kidney 0.750 {command}" in Page(page).text
    base = page_of(scores, provenance=dataclasses.replace(REAL, environment="base"), cases=cases)
    assert "tsfm-pipeline view kits19/c0 --experiment a.b.c" in Page(base).text
    fold = dataclasses.replace(known, workspace="fold1", params="splits.fold=1,workspace=fold1")
    command = "tsfm-pipeline view --env paper --workspace fold1 kits19/c0 --experiment a.b.c"
    assert command in Page(page_of(scores, provenance=fold, cases=cases)).text
    assert "tsfm-pipeline view" not in page_of(scores)


def test_a_cell_has_all_that_belongs_to_it(page_of, scores):
    text = Page(page_of(scores)).text
    low, high = 0.56, 0.64  # about 0.6 +- 2 standard errors
    after = text[text.rindex("0.7106", 0, text.index("Table 2. ")) :]  # TSFM's last printed number
    liver = after[: after.index("n 10")].split()
    assert "0.6000" in liver and "−0.0209" in liver
    bounds = next(word.split("–") for word in liver if word.count("–") == 1)
    assert float(bounds[0]) == pytest.approx(low, abs=0.01)
    assert float(bounds[1]) == pytest.approx(high, abs=0.01)
    assert "0.2000 * +0.0694" in text  # scratch at epoch10: it differs from the pretrained one
    assert "0.6000 * " not in text


def test_every_link_leads_somewhere_in_the_page(page_of, scores):
    statuses = [("transfer.y", "not run", "left out"), (PRETRAINED, "finished", "")]
    page = Page(page_of(scores, statuses))
    assert len(page.ids) == len(set(page.ids))
    inner = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert set(inner) <= set(page.ids)
    assert set(page.links) - {f"#{link}" for link in inner} == {LINEAGE}  # nothing from outside
    assert "experiment-transfer-kits19-scratch-epoch10" in inner
    assert not page.sources and "script" not in page.tags


def test_an_empty_cell_says_why_and_what_to_set(page_of, scores):
    why = "set experiments.methods.sam_med3d.checkpoint to its published weights"
    whole = page_of(scores, [("pretrain.sam_med3d", "needs checkpoint", why)])
    assert f'title="pretrain.sam_med3d: {why}"' in whole


def test_only_experiments_are_listed_as_such(page_of, scores, scores_of):
    threshold = ("pretrain.threshold", "msd_liver", "liver_tumor", [0.1, 0.3])
    for given, status in (
        (scores, "not run"),
        (pd.concat([scores, scores_of(threshold, weights=("only",))]), "finished"),
    ):
        whole = page_of(given)
        listed = Page(whole[whole.index('<h2 id="experiments"') :].replace("</body></html>", ""))
        assert f"pretrain.threshold {status}" in listed.text
        assert ".*" not in listed.text
        assert ("scored with the pipeline of pretrain.tsfm" in listed.text) == (status == "not run")


def test_what_a_network_started_from_stands_under_its_table(page_of, scores):
    start = "pretrain.stunet, trained here on totalsegmentator, synthetic phantoms"
    origin = Origin(network="stunet tiny", parameters=1_460_000, start=start)
    provenance = dataclasses.replace(PHANTOMS, origins={PRETRAINED: origin})
    text = Page(page_of(scores, provenance=provenance)).text
    note = f"stunet tiny (1.46 M parameters) started from {start}."
    assert text.count(note) == 1
    assert (
        text.index("Table 2.") < text.index(note) < text.index("Table 3.", text.index("Table 2."))
    )


def test_provenance_of_a_figure(page_of, scores):
    origin = Origin(
        digest="abc123",
        folder="pretrain.tsfm/abc123",
        epochs=7,
        hours=1.5,
        pool="p1",
        commit="c0ffee",
        run="run42",
        run_url="https://mlflow.example/#/runs/run42",
        params='workspace=fold1,experiments.left_out=["study.*"]',
    )
    provenance = dataclasses.replace(
        PHANTOMS, environment="test", origins={"pretrain.tsfm": origin}, stale={SCRATCH: "old1"}
    )
    whole = page_of(scores, provenance=provenance)
    part = whole[whole.index('id="experiment-pretrain-tsfm"') :]
    text = Page("<div " + part[: part.index("</details>")]).text
    for fact in ("abc123", "1.5 hours", "p1", "c0ffee", "run42", "liver_tumor"):
        assert fact in text
    assert (
        "kedro run --env test --pipelines pretrain --namespaces pretrain.tsfm"
        " --params 'workspace=fold1,experiments.left_out=[\"study.*\"]'"
    ) in text
    assert "make mlflow" not in text
    local = dataclasses.replace(origin, run_url="http://127.0.0.1:5000/#/runs/run42")
    origins = {"pretrain.tsfm": local}
    whole_local = page_of(scores, provenance=dataclasses.replace(provenance, origins=origins))
    assert 'href="http://127.0.0.1:5000/#/runs/run42"' in whole_local
    assert "run42 , while make mlflow runs" in Page(whole_local).text
    assert 'href="https://mlflow.example/#/runs/run42"' in whole
    assert "stale" in Page(whole).text
    for hours, told in ((0.05, "3.0 minutes"), (0.0005, "1.8 seconds")):
        origins = {"pretrain.tsfm": dataclasses.replace(origin, hours=hours)}
        page = page_of(scores, provenance=dataclasses.replace(provenance, origins=origins))
        assert told in Page(page).text


def test_the_report_leads_to_the_lineage_where_make_viz_serves_it(page_of, scores, repository):
    assert (
        f'make viz      then open {LINEAGE.rstrip("/")}"' in (repository / "Makefile").read_text()
    )
    assert LINEAGE in Page(page_of(scores)).links


def test_names_are_never_markup(page_of, scores_of):
    evil = "<script>alert(1)</script>"
    scores = scores_of(("pretrain.tsfm", evil, "<b>liver</b>", [0.5, 0.6]))
    statuses = [("transfer.y", "failed", f"case {evil}: 'x' & \"y\"")]
    provenance = dataclasses.replace(PHANTOMS, workspace=evil, datasets={evil: 1})
    whole = page_of(scores, statuses, provenance)
    page = Page(whole)
    assert "script" not in page.tags and "b" not in page.tags[page.tags.index("dl") :]
    assert whole.count("&lt;script&gt;") >= 4
    assert "case <script>alert(1)</script>: 'x' & \"y\"" in page.text


def test_figures_stand_inline(page_of, scores):
    assert '<svg id="one"></svg>' in page_of(scores, figures=['<svg id="one"></svg>'])
    assert 'id="figures"' not in page_of(scores)
