from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID


def test_what_is_compared_shares_its_dataset_and_differs_in_one_thing():
    assert len(COMPARISONS) == len(set(COMPARISONS))
    for one, other in COMPARISONS:
        first, second = EXPERIMENTS[one], EXPERIMENTS[other]
        if first.role == "transfer":
            assert first.datasets == second.datasets
            assert first.budget == second.budget or second.method == "nnunet"
        assert (first.initial, first.method) != (second.initial, second.method)
        assert first.seed == second.seed


def test_every_cell_of_tables_2_and_3_is_compared():
    compared = {name for pair in COMPARISONS for name in pair}
    cells = {entry.name for entry in GRID if entry.role == "transfer" and entry.cases is None}
    assert {name for name in cells if "zero_shot" not in name} <= compared
