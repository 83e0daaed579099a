"""`tsfm-pipeline pool-folds`: one report over the cases of all folds, or why there is none."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from tests.evaluation.test_folds import FIRST, SECOND, scores
from tsfm_pipeline.commands import pool_folds
from tsfm_pipeline.reporting.folds import Fold
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.selection import Selection

CONF = str(Path(__file__).parents[2] / "conf")
NAME = "transfer.kits19.scratch.epoch10"


def fold(number: int, cases: dict[str, tuple[str, float]], **settings) -> Fold:
    statuses = pd.DataFrame(
        {
            "experiment": [NAME, "transfer.kits19.scratch.epoch20"],
            "status": ["finished", "not run"],
            "reason": ["", "left out"],
            "pool_version": "p1",
        }
    )
    provenance = Provenance(
        workspace=f"w{number}",
        pool="p1",
        leaking=0,
        selections={NAME: [Selection(validation=number + 1, scored=len(cases))]},
        folds=(number,),
    )
    given = {"learning_rate": 0.01, "epochs": 5} | settings
    return Fold(scores(NAME, cases), statuses, provenance, {NAME: given})


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command on folds; return its exit status, its errors and the folder."""

    def run(**folds: Fold) -> tuple[int, str, Path]:
        monkeypatch.setattr(pool_folds, "read_fold", lambda name, *others: folds[name])
        status = pool_folds.main([*folds, "-o", str(tmp_path / "out"), "--conf-source", CONF])
        return status, capsys.readouterr().err, tmp_path / "out"

    return run


def test_the_report_is_over_all_cases_and_says_so(pool) -> None:
    status, errors, folder = pool(w0=fold(0, FIRST), w1=fold(1, SECOND))
    assert (status, errors) == (0, "")
    report = (folder / "report.md").read_text()
    assert "Workspace `w0, w1`, dataset pool `p1` (leakage-free), folds 0, 1 in turn." in report
    assert "chosen on 1 to 2 validation cases; scored are 2 to 3 test cases" in report
    dice = pd.read_csv(folder / "dice.csv").set_index("target").loc["kidney"]
    assert (dice["best"], dice["n"]) == (pytest.approx(0.54), 5)
    assert len(pd.read_csv(folder / "scores.csv")) == 5
    statuses = pd.read_csv(folder / "experiments.csv").set_index("experiment")
    assert list(statuses["status"]) == ["finished", "not run"]
    assert statuses["reason"].iloc[1] == "w0: left out"
    assert "folds 0, 1 in turn" in (folder / "report.html").read_text()
    assert "chosen on" not in (folder / "tables.tex").read_text()  # no table shows kits19/kidney


def test_folds_that_do_not_fit_are_refused(pool) -> None:
    first = fold(0, FIRST)
    status, errors, folder = pool(w0=first, w1=fold(1, SECOND, epochs=9))
    assert (status, folder.exists()) == (2, False)
    assert f"w0 and w1 have trained {NAME} with another epochs" in errors
    second = fold(1, SECOND)
    other = dataclasses.replace(second.provenance, pool="p2")
    _, errors, _ = pool(w0=first, w1=dataclasses.replace(second, provenance=other))
    assert "w0 and w1 are of two pools, p1 and p2" in errors
    _, errors, _ = pool(w0=first, w1=fold(1, FIRST))
    assert "w0 and w1 have both scored kits19/a" in errors


def test_what_one_fold_lacks_is_told(pool) -> None:
    second = fold(1, SECOND)
    scores_of_both = pd.concat([second.scores, scores("pretrain.tsfm", SECOND)])
    status, errors, folder = pool(
        w0=fold(0, FIRST), w1=dataclasses.replace(second, scores=scores_of_both)
    )
    assert (status, errors) == (0, "left out: pretrain.tsfm, without scores in w0\n")
    assert set(pd.read_csv(folder / "scores.csv")["experiment"]) == {NAME}


def test_one_fold_is_no_cross_validation(capsys: pytest.CaptureFixture[str]) -> None:
    for names in (["w0"], ["w0", "w0"]):
        with pytest.raises(SystemExit):
            pool_folds.main([*names, "-o", "out", "--conf-source", CONF])
        assert "two workspaces or more" in capsys.readouterr().err


def test_names_are_no_formulas_in_a_spreadsheet(pool) -> None:
    _, _, folder = pool(w0=fold(0, {"=1+1": ("x", 0.5)}), w1=fold(1, SECOND))
    assert "'=1+1" in set(pd.read_csv(folder / "scores.csv")["case"])
