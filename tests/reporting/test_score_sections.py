import pandas as pd

from tests.reporting.test_markdown import PHANTOMS, parsed
from tsfm_pipeline.evaluation.metrics import PROMPTED
from tsfm_pipeline.evaluation.statistics import COMPARISON_COLUMNS
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.score_sections import (
    comparison_tests_markdown,
    dice_summary_markdown,
)


def rendered(summary, evaluation):
    return dice_summary_markdown(dice_summary(summary, evaluation), PHANTOMS, 2.0)


def test_dice_summary_has_a_table_per_experiment(evaluation, summary_of):
    nan = float("nan")
    summary = summary_of(
        ("pretrain.threshold", "only", "a", "liver", 0.1),
        ("pretrain.tsfm", "best", "a", "liver", 0.8),
        ("pretrain.tsfm", "final", "a", "liver", nan),
        **{"dice_low": 0.7, "dice_high": 0.9, "nsd": 0.65, "hd95": 12.34},
    )
    text = rendered(summary, evaluation)
    header, lines = parsed(text.partition("## Where")[0])
    assert header == [
        *("dataset", "target", "best", "95 % CI", "final", "threshold", "NSD", "HD95 mm"),
        *("cases", "missed", "empty", "false"),
    ]
    figures = ["0.8000", "0.7000-0.9000", "-", "0.1000", "0.6500", "12.3"]
    assert lines[0] == ["a", "liver", *figures, "4", "2", "1", "0"]
    assert lines[1] == ["", "**mean organ**", "0.8000", "", *figures[2:], "", "2", "1", "0"]
    assert "### pretrain.tsfm" in text
    assert "Synthetic phantoms" in text
    assert "at 2 mm" in text


def test_prompted_scores_stand_under_a_heading_that_says_so(evaluation, summary_of):
    summary = pd.concat(
        [
            summary_of(("x", "best", "a", "liver", 0.5)),
            summary_of(("x", "best", "a", "liver", 0.9), protocol=PROMPTED),
        ]
    )
    text = rendered(summary, evaluation)
    assert f"### x ({PROMPTED})" in text
    assert f"| x ({PROMPTED}) |" in text  # in the table of conventions, too
    assert text.count("### x\n") == 1


def test_lesions_only_of_tumours(evaluation, summary_of):
    organ = summary_of(("x", "best", "a", "liver", 0.5))
    tumour = summary_of(
        ("x", "best", "a", "liver_tumor", 0.5),
        **{"reference_lesions": 8.0, "lesion_sensitivity": 0.375, "false_positive_lesions": 1.5},
    )
    assert "## Lesions" not in rendered(organ, evaluation)
    text = rendered(pd.concat([organ, tumour]), evaluation)
    _, lines = parsed(text.partition("## Lesions")[2].partition("##")[0])
    assert lines == [["x", "a", "liver_tumor", "8", "0.3750", "1.50"]]


def test_conventions_are_shown_where_they_differ(evaluation, summary_of):
    conventions = {"dice_both_empty_as_1": 0.6, "dice_without_empty_reference": 0.7}
    row = ("x", "best", "a", "liver", 0.5)
    same = summary_of(row, **conventions, n_both_empty=0)
    assert "conventions" not in rendered(same, evaluation)
    text = rendered(summary_of(row, **conventions), evaluation)
    _, lines = parsed(text.partition("## Where")[2])
    assert lines == [["x", "a", "liver", "0.5000", "0.6000", "0.7000", "1", "0"]]


def test_tested_pairs_are_shown_and_the_others_counted():
    rows = [
        ("a", "b", "final", "kits19", "kidney", 0.0213, 40, 1, 0.00002, 0.00004, "tested"),
        ("a", "b", "final", "kits19", "kidney_tumor", -0.1, 40, 0, 0.03, 0.03, "tested"),
        ("a", "c", "final", "kits19", "kidney", 0.1, 2, 0, float("nan"), float("nan"), "too few"),
    ]
    frame = pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS))
    text = comparison_tests_markdown(frame, PHANTOMS)
    _, lines = parsed(text)
    assert lines == [
        ["a", "b", "kidney", "+0.0213", "40", "1", "2.0e-05", "4.0e-05"],
        ["a", "b", "kidney_tumor", "-0.1000", "40", "0", "0.0300", "0.0300"],
    ]
    assert "Without a test: 1 comparisons" in text
    assert "|" not in comparison_tests_markdown(frame[2:], PHANTOMS)
    assert "Without a test: 0 comparisons" in comparison_tests_markdown(frame[:0], PHANTOMS)
