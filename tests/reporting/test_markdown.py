from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.markdown import markdown_table, paper_table_markdown
from tsfm_pipeline.reporting.provenance import Provenance

PHANTOMS = Provenance(workspace="base", pool="2026-01-01T00.00.00", leaking=3, phantoms=("btcv",))
REAL = Provenance(workspace="paper", pool="v1", leaking=0)


def parsed(markdown):
    """Read the first Markdown table as header and lines of stripped cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1  # aligned as plain text, too
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return cells[0], cells[2:]


def rendered(tables, name, summary, statuses=None, provenance=PHANTOMS):
    table = tables[name]
    frame = build_table(name, table, summary, statuses or {})
    return paper_table_markdown(frame, table, provenance)


def test_ours_stand_right_of_the_papers(tables, summary_of):
    summary = summary_of(
        ("pretrain.tsfm", "best", "kits21", "kidney", 0.71234),
        ("pretrain.tsfm", "final", "kits21", "kidney", 0.7),
        ("pretrain.threshold", "only", "kits21", "kidney", 0.3),
    )
    header, lines = parsed(rendered(tables, "table_1", summary))
    ours = ("ours best", "ours final")
    assert header[2:] == [
        *("nnU-Net", *ours, "SwinUNETR", *ours, "nnU-Net pool", *ours, "SAM-Med3D", *ours),
        *("TSFM", *ours, "threshold (ours)", "cases"),
    ]
    kidney = lines[8]
    assert kidney[:2] == ["KiTS2021", "kidney"]
    assert kidney[-5:] == ["0.9650", "0.7123", "0.7000", "0.3000", "4"]
    assert lines[9][:2] == ["", "tumor"]  # the group is said once
    assert lines[0][-5:] == ["0.9619", "not run", "-", "not run", "-"]


def test_blocks_and_single_numbers(tables, summary_of):
    header, lines = parsed(rendered(tables, "table_2", summary_of()))
    assert header[2:9] == [
        *("TSFM pretrained", "ours best", "ours final"),
        *("TSFM scratch", "ours best", "ours final", "STU-Net"),
    ]
    assert len(lines) == 15
    assert lines[4][2:] == ["-"] * 9 + ["0.5553", "not run", "-", "-"]
    assert lines[5][:3] == ["KiTS2019/tumor", "10epoch", "0.6723"]


def test_a_table_without_groups_has_no_empty_column(tables, summary_of):
    header, lines = parsed(rendered(tables, "table_3", summary_of()))
    assert [line[0] for line in lines] == ["BraTS2020", "KiTS2019", "Abdomen"]
    assert header[1] == "whole pool"


def test_the_header_says_what_the_data_are(tables, summary_of):
    phantoms = rendered(tables, "table_3", summary_of())
    real = rendered(tables, "table_3", summary_of(), provenance=REAL)
    assert "Synthetic phantoms" in phantoms
    assert "`base`" in phantoms
    assert "2026-01-01T00.00.00" in phantoms
    assert "phantom" not in real.lower()
    assert "`paper`" in real


def test_cells_that_wait_for_published_weights_say_so(tables, summary_of):
    statuses = {"pretrain.sam_med3d": "needs checkpoint"}
    _, lines = parsed(rendered(tables, "table_1", summary_of(), statuses))
    assert lines[0][11:14] == ["0.9235", "needs checkpoint", "-"]


def test_numbers_are_right_aligned():
    text = markdown_table(["name", "x"], [["a", "1"], ["bcdef", "22"]], text_columns=1)
    assert text.splitlines() == [
        "| name  |   x |",
        "| ----- | --: |",
        "| a     |   1 |",
        "| bcdef |  22 |",
    ]


def test_why_a_cell_is_empty_stands_below(tables, summary_of):
    table = tables["table_2"]
    frame = build_table("table_2", table, summary_of(), {})
    why = "set experiments.methods.stunet.checkpoint to its published weights"
    names = [name for name in frame["experiment"] if ".stunet." in name]
    text = paper_table_markdown(frame, table, PHANTOMS, dict.fromkeys(names, why))
    assert f"- not run: {why} ({len(names)} experiments).\n" in text
    assert text.count(why) == 1
