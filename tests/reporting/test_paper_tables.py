import math
import re

import pytest
from pydantic import ValidationError

from tsfm_pipeline.experiments.grid import EXPERIMENTS, PROMPTED
from tsfm_pipeline.reporting.paper_tables import PaperTable, PaperTables

BASELINE = "pretrain.threshold"

# Table 1, copied from the paper row by row in its column order, and the printed mean.
TABLE_1 = """
nnU-Net 0.9621 0.5781 0.6216 0.8092 0.5791 0.6400 0.7360 0.5271 0.9684 0.8695 0.7451 0.6652
SwinUNETR-base 0.9297 0.4927 0.5257 0.7471 0.5121 0.5884 0.6142 0.4880 0.9135 0.5788 0.6446 0.5508
nnU-Net-datasetpool 0.9579 0.5722 0.5884 0.7938 0.5643 0.6377 0.7315 0.5815 0.9618 0.8328 0.7261 0.6566
SAM-Med3D 0.9235 0.5387 0.4492 0.5768 0.3144 0.1564 0.5685 0.4554 0.6835 0.4426 0.7524 0.5030
Ours 0.9619 0.6209 0.6391 0.8071 0.6535 0.6426 0.7462 0.6620 0.9650 0.8608 0.7923 0.7106
"""  # noqa: E501
TABLE_2 = """
BraTS2020/tumor Ours-pretrain 0.5158 0.5355 0.5481 0.5571
BraTS2020/tumor Ours-nopretrain 0.1023 0.2056 0.2789 0.3763
BraTS2020/tumor STU-Net-pretrain 0.5162 0.5362 0.5475 0.5548
BraTS2020/tumor nnU-Net-1000epoch 0.5553
KiTS2019/tumor Ours-pretrain 0.6723 0.7953 0.8045 0.8503
KiTS2019/tumor Ours-nopretrain 0.1306 0.2221 0.5589 0.7413
KiTS2019/tumor STU-Net-pretrain 0.6146 0.7182 0.8003 0.8036
KiTS2019/tumor nnU-Net-1000epoch 0.8454
Abdomen/multi-organ Ours-pretrain 0.9309 0.9355 0.9402 0.9437
Abdomen/multi-organ Ours-nopretrain 0.6946 0.7963 0.8686 0.9025
Abdomen/multi-organ STU-Net-pretrain 0.9264 0.9395 0.9416 0.9426
Abdomen/multi-organ nnU-Net-1000epoch 0.9337
"""
TABLE_3 = """
Ours-pretrain 0.5571 0.8503 0.9437
Ours(AMOS22) 0.5446 0.8329 0.9397
Ours(Pancreas) 0.5423 0.8219 0.9245
"""


def printed(table):
    """Print a table's rows as the paper does: a number where there is one, left to right."""
    return [
        " ".join([*filter(None, [block.name]), row.name])
        + "".join(f" {row.paper[c.key]:.4f}" for c in table.columns if c.key in row.paper)
        for block in table.blocks
        for row in block.rows
        if row.paper
    ]


@pytest.mark.parametrize(
    ("name", "text"), [("table_1", TABLE_1), ("table_2", TABLE_2), ("table_3", TABLE_3)]
)
def test_every_printed_number_is_there(tables, name, text):
    assert printed(tables[name]) == text.strip().splitlines()


def test_the_printed_means_are_those_of_the_seven_tumour_columns_cut_to_four_digits(tables):
    table = tables["table_1"]
    mean = table.columns[-1]
    assert len(mean.mean_of) == 7
    tumours = [c.key for c in table.columns if c.name == "tumor"]
    assert list(mean.mean_of) == tumours
    for row in table.blocks[0].rows:
        if row.paper:
            exact = math.fsum(row.paper[key] for key in mean.mean_of) / 7
            # Three of the five are cut, not rounded: 0.7107 would be printed for 0.71069.
            assert row.paper[mean.key] == math.floor(exact * 1e4) / 1e4


def test_all_experiments_named_exist(tables):
    named = {
        experiment
        for table in tables.values()
        for block in table.blocks
        for row in block.rows
        for column in table.columns
        if (experiment := row.experiment_of(column)) is not None
    }
    means = {"baseline.nnunet.*", "baseline.swinunetr.*"}
    assert named - set(EXPERIMENTS) == {BASELINE, PROMPTED} | means


def test_an_unknown_key_is_refused_at_every_level(base_parameters):
    import copy

    places = [
        lambda table: table,
        lambda table: table["columns"][0],
        lambda table: table["columns"][0]["scores"],
        lambda table: table["blocks"][0],
        lambda table: table["blocks"][0]["rows"][0],
    ]
    for place in places:
        parameters = copy.deepcopy(base_parameters["paper_tables"])
        place(parameters["table_1"])["colunms"] = 1
        with pytest.raises(ValidationError, match="colunms"):
            PaperTables.model_validate(parameters)


def _table(**changes):
    content = {
        "title": "T",
        "caption": "",
        "columns": [{"key": "a", "name": "A", "scores": {"dataset": "d", "targets": ["t"]}}],
        "blocks": [{"rows": [{"name": "r", "experiment": "x", "paper": {"a": 0.5}}]}],
    }
    return content | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": [{"key": "a", "name": "A"}]}, "exactly one of column scores"),
        ({"columns": [{"key": "a", "name": "A", "mean_of": ["b"]}]}, "mean_of: ['b'] not among"),
        ({"blocks": [{"rows": [{"name": "r"}]}]}, "either an experiment or cells"),
        ({"blocks": [{"rows": [{"name": "r", "experiment": "x", "paper": {"b": 1}}]}]}, "['b']"),
    ],
)
def test_inconsistent_tables_are_refused(changes, message):
    PaperTable.model_validate(_table())
    with pytest.raises(ValidationError, match=re.escape(message)):
        PaperTable.model_validate(_table(**changes))
