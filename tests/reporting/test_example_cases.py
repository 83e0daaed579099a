from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.pipelines.reporting import figure_nodes
from tsfm_pipeline.reporting.example_cases import failures, systems_of_tables, typical_cases
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Origin, Provenance
from tsfm_pipeline.sources import Datasets

BRATS = ("brain_tumor_necrosis", "brain_edema", "brain_tumor_enhancing")


def test_the_case_nearest_to_the_median_of_the_tumours(scores_of, evaluation):
    scores = scores_of(
        ("pretrain.tsfm", "own", "liver", [0.9, 0.1, 0.9]),  # an organ decides nothing
        ("pretrain.tsfm", "own", "liver_tumor", [0.1, 0.5, 0.8]),
        ("pretrain.other", "own", "liver_tumor", [0.2, 0.3, 0.4]),
        ("pretrain.tsfm", "organs", "liver", [0.4, 0.9, 0.6]),
    )
    systems = {
        "own": {"TSFM": "pretrain.tsfm", "other": "pretrain.other", "lost": "pretrain.lost"},
        "organs": {"TSFM": "pretrain.tsfm"},
    }
    own, organs = typical_cases(scores, systems, evaluation)
    assert own.key == "own/c1"
    assert own.targets == ("liver_tumor",)
    assert own.dice == {"TSFM": 0.5, "other": 0.3}
    assert (organs.key, organs.targets) == ("organs/c2", ("liver",))


def test_systems_are_the_tables_rows_at_the_largest_budget(tables, comparison_of, scores_of):
    name = "transfer.kits19.pretrained"
    scores = scores_of(
        ("pretrain.tsfm", "own", "liver", [0.5]),
        *((f"{name}.{budget}", "kits19", "kidney", [0.5]) for budget in ("epoch10", "epoch100")),
        ("transfer.kits19.scratch.epoch10", "kits19", "kidney", [0.5]),
        ("ablation.amos22.kits19", "kits19", "kidney", [0.5]),
    )
    found = systems_of_tables(comparison_of(scores), scores, PaperTables.model_validate(tables))
    assert found == {
        "own": {"TSFM": "pretrain.tsfm"},
        "kits19": {
            "TSFM pretrained": f"{name}.epoch100",
            "TSFM scratch": "transfer.kits19.scratch.epoch10",
            "AMOS22 alone": "ablation.amos22.kits19",
        },
    }


@pytest.mark.parametrize(
    ("reference", "prediction", "dice", "reason"),
    [(9, 0, 0.0, "missed"), (0, 9, 0.0, "false positive"), (9, 9, 0.0, "elsewhere")],
)
def test_reasons_that_the_scores_tell(scores_of, reference, prediction, dice, reason):
    scores = scores_of(("e", "d", "t", [dice, 0.9]), ("f", "d", "t", [0.0]))
    scores["reference_voxels"], scores["prediction_voxels"] = reference, prediction
    (found,) = failures(scores, ["e"])
    assert (found.key, found.note, found.dice) == ("d/c0", reason, {"e": dice})


def test_the_worst_of_every_target_and_of_these_the_worst(scores_of):
    scores = scores_of(
        ("e", "d", "a", [0.5, 0.3]), ("e", "d", "b", [0.1, 0.2]), ("e", "d", "c", [np.nan, 0.9])
    )
    found = failures(scores, ["e"], most=2)
    assert [(example.targets, example.note) for example in found] == [
        (("b",), "partly"),
        (("a",), "partly"),
    ]
    assert found[1].key == "d/c1"


def test_stale_results_are_in_no_figure(
    tables, comparison_of, scores_of, evaluation, monkeypatch
) -> None:
    old, new = "transfer.kits19.pretrained.epoch100", "transfer.kits19.scratch.epoch100"
    scores = scores_of(
        ("pretrain.tsfm", "kits21", "kidney", [0.1]),
        (old, "kits19", "kidney_tumor", [0.1]),
        (new, "kits19", "kidney_tumor", [0.5]),
    )
    provenance = Provenance(
        *("test", "new1", 0),
        stale={"pretrain.tsfm": "old1", old: "old1"},
        origins={name: Origin(folder=name) for name in (old, new)},
    )
    comparison = comparison_of(scores, stale=provenance.stale)
    pictured, trained = [], []
    monkeypatch.setattr(figure_nodes, "_read", lambda cases, *_: pictured.extend(cases) or [])
    monkeypatch.setattr(
        "tsfm_pipeline.reporting.training_history.read_history",
        lambda folders: trained.extend(folders) or pd.DataFrame(columns=["experiment"]),
    )
    paper, others = PaperTables.model_validate(tables), (Datasets({}), LabelTable.model_construct())
    read = (scores, comparison, pd.DataFrame(), Path())
    boxes = figure_nodes.draw_target_boxes(scores, comparison, evaluation, provenance)
    figure_nodes.draw_example_cases(*read, paper, evaluation, *others, provenance)
    figure_nodes.draw_worst_cases(*read, paper, *others, provenance)
    figure_nodes.draw_training_curves(Path(), provenance)
    assert boxes.data.empty
    assert [list(example.systems.values()) for example in pictured] == [[new], [new]]
    assert trained == [new]
    assert "what was run on another pool is left out" in boxes.figure.texts[1].get_text()
