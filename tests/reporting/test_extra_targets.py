"""Other readings of the targets stand in the details and in Table S2, and change nothing else."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tests.reporting.test_comparison import BRATS, cell
from tests.reporting.test_markdown import PHANTOMS, parsed
from tsfm_pipeline.evaluation.statistics import compare_experiments
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.scoring_run import headline_dice
from tsfm_pipeline.reporting.comparison import build_table
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.example_cases import failures, typical_cases
from tsfm_pipeline.reporting.figures.target_boxes import draw_boxes
from tsfm_pipeline.reporting.score_sections import dice_summary_markdown

ABDOMEN = ("liver", "spleen", "pancreas", "kidney_left", "kidney_right", "duodenum")
SYSTEMS = [f"transfer.{{}}.{start}.epoch100" for start in ("pretrained", "scratch")]


@pytest.fixture
def regions(scores_of):
    """Two systems on three datasets, 8 patients each."""
    rng = np.random.default_rng(0)
    targets = {"abdomenct1k": ABDOMEN, "brats2020": BRATS, "kits19": ("kidney", "kidney_tumor")}
    return scores_of(
        *(
            (system.format(dataset), dataset, target, rng.uniform(0.3, 0.9, 8))
            for system in SYSTEMS
            for dataset, names in targets.items()
            for target in names
        )
    )


@pytest.fixture
def extra(scores_of):
    """The other readings of these: worst of all, so that they would show anywhere."""
    targets = {
        "abdomenct1k": ("kidney",),
        "brats2020": ("brain_tumor_core", "brain_tumor_whole"),
        "kits19": ("kidney (label alone)",),
    }
    rows = scores_of(
        *(
            (system.format(dataset), dataset, target, np.linspace(0.01, 0.08, 8))
            for system in SYSTEMS
            for dataset, names in targets.items()
            for target in names
        )
    )
    return rows.assign(extra=True)


def test_nothing_but_the_details_and_table_s2_knows_of_them(
    regions, extra, evaluation, comparison_of
):
    both = pd.concat([regions, extra], ignore_index=True)
    without, with_extra = comparison_of(regions), comparison_of(both)
    papers = without["table"] != "table_s2"
    pd.testing.assert_frame_equal(without[papers], with_extra[papers])
    assert (without[papers]["status"] == "done").sum() == 6 + 3  # of Tables 2 and 3
    means = [dice_summary(summarise(scores, 50), evaluation) for scores in (regions, both)]
    pd.testing.assert_frame_equal(
        means[0], means[1][means[1]["kind"] != "extra"].reset_index(drop=True)
    )
    assert headline_dice(means[0]) == headline_dice(means[1])
    pd.testing.assert_frame_equal(
        *(compare_experiments(scores, COMPARISONS) for scores in (regions, both))
    )
    systems = {name: {"TSFM": SYSTEMS[0].format(name)} for name in ("kits19", "abdomenct1k")}
    named = [system.format("abdomenct1k") for system in SYSTEMS]
    for scores in (regions, both):
        assert [e.key for e in typical_cases(scores, systems, evaluation)] == [
            e.key for e in typical_cases(regions, systems, evaluation)
        ]
        assert failures(scores, named) == failures(regions, named)
        drawing = draw_boxes(scores, named, evaluation, PHANTOMS)
        assert set(drawing.data["target"]) == set(ABDOMEN)
        plt.close(drawing.figure)


def test_table_s2_has_both_readings_side_by_side(regions, extra, comparison_of):
    frame = comparison_of(pd.concat([regions, extra], ignore_index=True))
    frame = frame[(frame["table"] == "table_s2") & (frame["row"] == "Ours-pretrain")]
    found = frame.set_index("column")
    best = regions[regions["weights"] == "best"]
    best = best[best["experiment"].isin([SYSTEMS[0].format(d) for d in best["dataset"]])]
    mean = best.groupby(["dataset", "target"])["dice"].mean()
    union = 0.045  # the mean of linspace(0.01, 0.08)
    assert dict(found["ours_best"]) == pytest.approx(
        {
            **dict(
                zip(("necrosis", "edema", "enhancing"), mean["brats2020"][[*BRATS]], strict=True)
            ),
            "mean_labels": mean["brats2020"].mean(),
            **dict.fromkeys(("core", "whole"), union),
            "mean_regions": (2 * union + mean["brats2020", "brain_tumor_enhancing"]) / 3,
            "kidney": mean["kits19", "kidney"],
            "kidney_alone": union,
            "all_organs": mean["abdomenct1k"].mean(),
            "four_organs": (mean["abdomenct1k"][["liver", "spleen", "pancreas"]].sum() + union) / 4,
        }
    )
    assert (found["ours_low"] < found["ours_best"]).all()
    assert (found["ours_best"] < found["ours_high"]).all()


def test_the_four_organs_are_scored_from_either_reading_of_the_dataset(tables, summary_of):
    """abdomenct1k_organs in the place of abdomenct1k labels the kidneys as one itself."""
    name = SYSTEMS[0].format("abdomenct1k")
    organs = {"liver": 0.9, "kidney": 0.8, "spleen": 0.7, "pancreas": 0.6}
    rows = [(name, "best", "abdomenct1k", target, dice) for target, dice in organs.items()]
    frame = build_table("table_s2", tables["table_s2"], summary_of(*rows), {})
    both = [cell(frame, "Ours-pretrain", key) for key in ("four_organs", "all_organs")]
    assert [one["ours_best"] for one in both] == pytest.approx([0.75, 0.75])


def test_the_details_show_them_in_italics_below_their_targets(evaluation, summary_of):
    organs = summary_of(("x", "best", "a", "liver", 0.8), ("x", "best", "a", "spleen", 0.6))
    alone = summary_of(("x", "best", "a", "liver (label alone)", 0.7), extra=True)
    text, plain = (
        dice_summary_markdown(dice_summary(summary, evaluation), PHANTOMS, 2.0)
        for summary in (pd.concat([organs, alone]), organs)
    )
    _, lines = parsed(text.partition("## Where")[0])
    assert [line[1:3] for line in lines] == [
        ["liver", "0.8000"],
        ["spleen", "0.6000"],
        ["*liver (label alone)*", "0.7000"],
        ["**mean organ**", "0.7000"],
        ["**foreground mean**", "0.7000"],
    ]
    assert ("*In italics*" in text, "*In italics*" in plain) == (True, False)
