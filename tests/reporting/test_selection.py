"""What chose the best weights: counted by person, and said under every table."""

import dataclasses

import numpy as np
import pytest

from tests.reporting.test_markdown import PHANTOMS
from tests.reporting.test_report_page import Page, page_of  # noqa: F401
from tsfm_pipeline.evaluation.summary import summarise
from tsfm_pipeline.reporting.dice_summary import dice_summary
from tsfm_pipeline.reporting.latex import tables_latex
from tsfm_pipeline.reporting.markdown import paper_table_markdown
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.score_sections import dice_summary_markdown
from tsfm_pipeline.reporting.selection import Selection, selection_notes, selection_of

PRETRAINED, SCRATCH = (f"transfer.kits19.{start}.epoch10" for start in ("pretrained", "scratch"))
APART = "chosen on 3 validation cases; scored are 8 test cases of other persons."
ON_SCORED = "chosen on the scored cases, as in nnU-Net, so best is optimistic; final is not."


def test_persons_are_compared_and_not_names_of_cases() -> None:
    persons = {"kits21/a": "anna", "kits19/1": "anna", "kits21/b": "bert", "kits19/2": "bert"}
    persons |= {"kits19/3": "carl"}
    scored, held_out = ("kits19/1", "kits19/3"), {"kits19/1", "kits19/3", "kits21/a"}
    of_transfer = selection_of(("kits19/2",), scored, ("kits21/a", "kits21/b"), held_out, persons)
    assert of_transfer == Selection(validation=1, scored=2, shared=0, start=1)
    as_nnunet = selection_of(scored, scored, (), held_out, persons)
    assert as_nnunet == Selection(validation=2, scored=2, shared=2)
    unknown = selection_of(("x/1",), ("x/1", "x/2"), (), held_out, {})
    assert (unknown.shared, unknown.current) == (1, False)


def test_the_sentences_tell_the_ways_apart() -> None:
    assert selection_notes([]) == []
    apart = Selection(validation=3, scored=8)
    assert selection_notes([apart, apart]) == [f"Best weights were {APART}"]
    mixed = [apart, Selection(8, 8, shared=8), Selection(0, 2, start=1), Selection(5, 9, start=4)]
    assert selection_notes(mixed) == [
        "Best weights of 2 of 4 trainings were chosen on 3 to 5 validation cases; scored are 8 to"
        " 9 test cases of other persons.",
        f"Best weights of 1 of 4 trainings were {ON_SCORED}",
        "Best weights of 1 of 4 trainings are the final ones: no case was left to choose on.",
        "The weights that 2 of 4 trainings started from were chosen with 1 to 4 of the scored"
        " persons' cases.",
    ]
    same = dataclasses.replace(apart, best_is_last=True)
    other = dataclasses.replace(apart, best_is_last=False)
    assert selection_notes([same, other, same, apart])[1] == (
        "Best is the last epoch in 2 of 3 trainings, so both columns are the same there: the moving"
        " average of the pseudo-Dice still rose."
    )
    assert len(selection_notes([other, apart])) == 1
    earlier = selection_notes([dataclasses.replace(apart, current=False), apart])
    assert earlier[1].startswith("1 of 2 trainings were scored on cases that the present split")


@pytest.fixture
def provenance():
    chosen = {PRETRAINED: [Selection(validation=3, scored=8)], SCRATCH: [Selection(8, 8, shared=8)]}
    return dataclasses.replace(PHANTOMS, selections=chosen, folds=(2,))


@pytest.fixture
def scores(scores_of):
    dice = np.linspace(0.5, 0.7, 8)
    return scores_of(
        (PRETRAINED, "kits19", "kidney_tumor", dice),
        (SCRATCH, "kits19", "kidney_tumor", dice - 0.4),
    )


def test_it_stands_under_every_table_that_shows_the_training(
    provenance, scores, tables, comparison_of, evaluation
) -> None:
    comparison = comparison_of(scores)
    texts = {
        name: paper_table_markdown(comparison[comparison["table"] == name], table, provenance)
        for name, table in tables.items()
    }
    for sentence in (APART, ON_SCORED):
        part = f"- Best weights of 1 of 2 trainings were {sentence}\n"
        assert [name for name, text in texts.items() if part in text] == ["table_2"]
        sections = dice_summary_markdown(
            dice_summary(summarise(scores, 10), evaluation), provenance, 2.0
        )
        assert part in sections
    assert ", fold 2 held out." in texts["table_1"]
    latex = tables_latex(comparison, PaperTables.model_validate(tables), provenance)
    captions = [line for line in latex.splitlines() if line.startswith(r"\caption")]
    assert [APART in caption for caption in captions] == [False, True, False, False, False]


def test_the_page_says_it_under_the_table_and_of_each_training(
    provenance,
    scores,
    page_of,  # noqa: F811
) -> None:
    whole = page_of(scores, provenance=provenance)
    text = Page(whole).text
    assert "fold 2 held out" in text
    assert text.count(f"Best weights of 1 of 2 trainings were {APART}") == 1
    assert text.count(f"selection Best weights were {APART}") == 1
    assert text.count(f"selection Best weights were {ON_SCORED}") == 1
    assert "optimistic" not in Page(page_of(scores)).text  # nothing is said that is not known
