"""Figures from an earlier pool are not shown under the current one's name."""

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.reporting.test_markdown import parsed
from tsfm_pipeline.evaluation.metrics import AUTOMATIC
from tsfm_pipeline.evaluation.statistics import COMPARISON_COLUMNS
from tsfm_pipeline.experiments.outcome import Outcome, collect_statuses
from tsfm_pipeline.pipelines.reporting.figure_nodes import draw_table_1
from tsfm_pipeline.pipelines.reporting.nodes import (
    build_tables,
    check_claims,
    describe_provenance,
    summarise_dice,
    write_report,
)
from tsfm_pipeline.pool.settings import PoolSettings
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.settings import ReportingSettings
from tsfm_pipeline.reporting.staleness import stale_experiments
from tsfm_pipeline.sources import Datasets

OLD, NEW = "0ld00000", "1234e567"
PRETRAINED = "transfer.kits19.pretrained.epoch100"
SCRATCH = "transfer.kits19.scratch.epoch100"
NOTE = f"- † from pool `{OLD}`, not run again on pool `{NEW}`: run `kedro run --pipelines "


def scored(experiment: str, dataset: str, target: str, weights: tuple[str, ...]) -> list[dict]:
    names = {"experiment": experiment, "dataset": dataset, "target": target, "case": "a"}
    counts = dict.fromkeys(("reference_lesions", "detected_lesions", "false_positive_lesions"))
    counts |= {"both_empty": False, "false_positive_on_empty": False, "nsd": 0.5, "hd95": 3.0}
    counts |= {"reference_voxels": 9, "prediction_voxels": 9, "patient": "a"}
    rows = {**names, **counts, "protocol": AUTOMATIC, "dice": 0.4321, "extra": False}
    return [{**rows, "weights": name} for name in weights]


SCORES = pd.DataFrame(
    [
        *scored("pretrain.tsfm", "kits21", "kidney", ("best", "final")),
        *scored("pretrain.threshold", "kits21", "kidney", ("only",)),
        *scored(PRETRAINED, "kits19", "kidney_tumor", ("best", "final")),
        *scored(SCRATCH, "kits19", "kidney_tumor", ("best", "final")),
        *scored("ablation.amos22", "kits21", "kidney", ("best", "final")),
    ]
)


@pytest.fixture
def reported(base_parameters, evaluation, monkeypatch, tmp_path):
    """Run the nodes of the report on what was run on the named versions of the pool."""
    monkeypatch.setattr("tsfm_pipeline.tracking.runs.log_text", lambda *_: None)
    tables = PaperTables.model_validate(base_parameters["paper_tables"])

    def run(versions: dict[str, str]):
        done = {"stage": "scoring", "status": "finished"}
        statuses = collect_statuses(
            *(Outcome(experiment=name, pool_version=v, **done) for name, v in versions.items())
        )
        provenance = describe_provenance(
            pool_catalogue=pd.DataFrame(columns=["key", "dataset", "case", "patient"]),
            leakage=pd.DataFrame(columns=["pool_key", "downstream_key"]),
            splits=pd.DataFrame(
                {"key": ["a"], "pool_version": [NEW], "role": ["validation"], "fold": [0]}
            ),
            experiment_statuses=statuses,
            phantom_root=Path("phantom"),
            raw_root=Path("phantom"),
            models_root=tmp_path,
            datasets=Datasets({}),
            pool=PoolSettings(datasets=("kits21",)),
            reporting=ReportingSettings(workspace="test"),
        )
        dice = summarise_dice(SCORES, evaluation)
        pair = (PRETRAINED, SCRATCH, "final", "kits19", "kidney_tumor", 0.1, 9, 0, 0.01, 0.01)
        tests = pd.DataFrame([(*pair, "tested")], columns=list(COMPARISON_COLUMNS))
        comparison = build_tables(SCORES, statuses, tests, tables, evaluation, provenance)
        check = check_claims(comparison, tables)
        shown = (comparison, dice, tests, statuses, check, tables, evaluation, provenance)
        figure = draw_table_1(comparison, tables, provenance).figure
        return write_report(*shown), comparison, figure

    return run


def section(report: str, title: str) -> str:
    found = re.split(r"^## ", report, flags=re.MULTILINE)
    (chosen,) = [part for part in found if part.startswith(title)]
    return chosen


def all_on(version: str) -> dict[str, str]:
    return dict.fromkeys(map(str, SCORES["experiment"].unique()), version)


def test_a_transfer_that_was_not_run_again_on_a_new_pool_is_marked_everywhere(reported) -> None:
    text, comparison, _ = reported(all_on(NEW) | {PRETRAINED: OLD, SCRATCH: OLD})
    second = section(text, "Table 2")
    _, lines = parsed(second)
    (line,) = [line for line in lines if line[2] == "0.8503"]
    assert line[2:7] == ["0.8503", "0.4321 †", "0.4321 †", "0.7413", "0.4321 †"]
    assert second.count(f"{NOTE}transfer`.") == 1
    shown = comparison[comparison["ours_final"].notna()]
    assert shown.groupby("table")["status"].agg(set).to_dict() == {
        "table_1": {"done"}, "table_2": {"stale"}, "table_3": {"stale"}
    }  # fmt: skip

    dice = section(text, "Dice per experiment")
    assert f"### {PRETRAINED} †\n" in dice
    assert "### pretrain.tsfm\n" in dice
    assert dice.count(f"{NOTE}transfer`.") == 1
    tests = section(text, "Experiments against each other")
    assert f"| {PRETRAINED} † | {SCRATCH} † |" in " ".join(tests.split())
    assert tests.count(f"{NOTE}transfer`.") == 1
    assert "†" not in section(text, "Table 1")


def test_the_baseline_is_as_old_as_the_pre_training_beside_it(reported) -> None:
    text, _, figure = reported(all_on(NEW) | {"pretrain.tsfm": OLD})
    first = section(text, "Table 1")
    assert first.count("0.4321 †") == 3  # best, final and the threshold
    assert first.count(f"{NOTE}pretrain`.") == 1
    dice = section(text, "Dice per experiment")
    (line,) = parsed(dice.partition("### ablation.amos22\n")[2].partition("###")[0])[1][:1]
    assert line[5] == "0.4321 †"  # its column beside figures of the current pool
    assert not figure.axes
    assert "2 stale figures are left out" in " ".join(figure.texts[1].get_text().split())


def test_a_mean_over_a_stale_figure_is_stale(tables, summary_of) -> None:
    from tests.reporting.test_comparison import cell, tumour_rows
    from tsfm_pipeline.reporting.comparison import build_table

    frame = build_table(
        "table_1", tables["table_1"], summary_of(*tumour_rows("best", 0.2)), {}, {"pretrain.tsfm"}
    )
    mean = cell(frame, "Ours", "mean_tumor")
    assert (mean["ours_best"], mean["status"]) == (pytest.approx(0.5), "stale")


@pytest.mark.parametrize("version", [NEW, ""])
def test_what_was_run_on_the_current_pool_or_an_unknown_one_is_not_marked(
    reported, version
) -> None:
    text, comparison, figure = reported(all_on(version))
    assert "†" not in text
    assert "stale" not in set(comparison["status"])
    labels = {line.get_label() for line in figure.axes[0].get_lines()}
    assert {"TSFM, ours", "threshold, ours"} <= labels
    assert ("Pool version unknown" in text) is (version == "")


def test_scores_and_statuses_that_do_not_fit_are_named(reported, caplog) -> None:
    reported(all_on(NEW))
    assert not [text for text in caplog.messages if "experiment(s) are" in text]
    versions = all_on(NEW) | {"transfer.kits19.nnunet.epoch1000": NEW}
    del versions[SCRATCH]
    reported(versions)
    told = " ".join(caplog.messages)
    assert "finished, but have no scores: transfer.kits19.nnunet.epoch1000;" in told
    assert f"scored, but have no status: {SCRATCH};" in told


def test_the_command_makes_it_anew_where_the_report_was_made(reported, monkeypatch) -> None:
    tags = {"environment": "paper", "params": "splits.fold=1,workspace=fold1"}
    monkeypatch.setattr("tsfm_pipeline.tracking.runs.tag_of_run", tags.get)
    text, _, _ = reported(all_on(NEW) | {PRETRAINED: OLD})
    options = "--env paper --params splits.fold=1,workspace=fold1"
    assert f"run `kedro run {options} --pipelines transfer`." in text


def test_only_what_was_run_is_stale() -> None:
    statuses = pd.DataFrame(
        [
            ("pretrain.tsfm", "not run", OLD),
            (PRETRAINED, "failed", OLD),
            (SCRATCH, "finished", OLD),
            ("pretrain.sam_med3d", "needs checkpoint", OLD),
        ],
        columns=["experiment", "status", "pool_version"],
    )
    # the baseline is scored even where the training beside it is left out
    assert stale_experiments(statuses, NEW) == dict.fromkeys(
        (PRETRAINED, SCRATCH, "pretrain.threshold"), OLD
    )
