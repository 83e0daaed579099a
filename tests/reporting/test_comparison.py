import math

import pytest

from tsfm_pipeline.reporting.comparison import TABLE_COLUMNS, build_table

TUMOURS = {
    "msd_liver": "liver_tumor",
    "msd_lung": "lung_tumor",
    "msd_pancreas": "pancreas_tumor",
    "msd_hepaticvessel": "liver_tumor",
    "msd_colon": "colon_tumor",
    "kits21": "kidney_tumor",
    "breast": "breast_tumor",
}
BRATS = ("brain_tumor_necrosis", "brain_edema", "brain_tumor_enhancing")


def cell(frame, row, column, block=""):
    found = frame[(frame["row"] == row) & (frame["column"] == column) & (frame["block"] == block)]
    assert len(found) == 1
    return found.iloc[0]


def tumour_rows(weights, start):
    return [
        ("pretrain.tsfm", weights, dataset, target, start + i / 10)
        for i, (dataset, target) in enumerate(TUMOURS.items())
    ]


def test_both_checkpoints_stand_beside_the_printed_number(tables, summary_of):
    summary = summary_of(*tumour_rows("best", 0.2), *tumour_rows("final", 0.1))
    frame = build_table("table_1", tables["table_1"], summary, {"pretrain.tsfm": "finished"})
    assert tuple(frame.columns) == TABLE_COLUMNS
    ours = cell(frame, "Ours", "hepatic_vessel_tumor")
    assert ours[["paper", "ours_best", "ours_final"]].tolist() == [0.7462, 0.5, 0.4]
    assert (ours["n"], ours["status"]) == (4, "done")
    mean = cell(frame, "Ours", "mean_tumor")
    assert mean["ours_best"] == pytest.approx(0.5)
    assert mean["ours_final"] == pytest.approx(0.4)
    assert cell(frame, "Ours", "liver")["status"] == "not scored"
    assert math.isnan(cell(frame, "Ours", "liver")["ours_best"])


def test_a_mean_needs_all_its_columns(tables, summary_of):
    summary = summary_of(*tumour_rows("best", 0.2)[1:])
    frame = build_table("table_1", tables["table_1"], summary, {})
    assert math.isnan(cell(frame, "Ours", "mean_tumor")["ours_best"])
    assert cell(frame, "Ours", "mean_tumor")["status"] == "not run"


def test_states_of_cells_without_a_figure(tables, summary_of):
    statuses = {
        "transfer.kits19.pretrained.epoch10": "failed",
        "transfer.kits19.stunet.epoch10": "needs checkpoint",
    }
    frame = build_table("table_2", tables["table_2"], summary_of(), statuses)
    kits = "KiTS2019/tumor"
    assert cell(frame, "Ours-pretrain", "epoch10", kits)["status"] == "failed"
    assert cell(frame, "Ours-pretrain", "epoch20", kits)["status"] == "not run"
    assert cell(frame, "STU-Net-pretrain", "epoch10", kits)["status"] == "needs checkpoint"
    assert cell(frame, "nnU-Net-1000epoch", "epoch1000", kits)["status"] == "not run"
    # 4 budgets for three methods and one for nnU-Net, in three blocks.
    assert len(frame) == 3 * (3 * 4 + 1)


def test_targets_are_averaged_where_the_paper_prints_one_number(tables, summary_of):
    name = "transfer.brats2020.pretrained.epoch50"
    abdomen = "ablation.pancreas.abdomenct1k"
    summary = summary_of(
        *[(name, "best", "brats2020", t, d) for t, d in zip(BRATS, (0.1, 0.2, 0.6), strict=True)],
        (name, "best", "kits19", "kidney_tumor", 0.9),
        (abdomen, "final", "abdomenct1k", "liver", 0.8),
        (abdomen, "final", "abdomenct1k", "spleen", 0.6),
    )
    second = build_table("table_2", tables["table_2"], summary, {})
    ours = cell(second, "Ours-pretrain", "epoch50", "BraTS2020/tumor")
    assert ours["ours_best"] == pytest.approx(0.3)
    assert math.isnan(ours["ours_final"])
    third = build_table("table_3", tables["table_3"], summary, {})
    assert cell(third, "Ours(Pancreas)", "abdomenct1k")["ours_final"] == pytest.approx(0.7)


def test_a_missing_target_is_not_averaged_away(tables, summary_of):
    name = "transfer.brats2020.pretrained.epoch50"
    summary = summary_of((name, "best", "brats2020", BRATS[0], 0.4))
    frame = build_table("table_2", tables["table_2"], summary, {name: "finished"})
    ours = cell(frame, "Ours-pretrain", "epoch50", "BraTS2020/tumor")
    assert ours["status"] == "not scored"


def test_the_baseline_has_one_figure_and_no_printed_number(tables, summary_of):
    summary = summary_of(("pretrain.threshold", "only", "kits21", "kidney", 0.3))
    frame = build_table("table_1", tables["table_1"], summary, {})
    ours = cell(frame, "best threshold per target", "kidney")
    assert math.isnan(ours["paper"])
    assert math.isnan(ours["ours_best"])
    assert ours["ours_final"] == 0.3
