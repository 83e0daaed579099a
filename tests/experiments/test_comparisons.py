from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.experiments.grid import EXPERIMENTS


def test_every_transfer_and_ablation_is_compared_on_its_own_dataset():
    assert len(COMPARISONS) == len(set(COMPARISONS)) == 3 * 4 + 2 * 3
    for one, other in COMPARISONS:
        first, second = EXPERIMENTS[one], EXPERIMENTS[other]
        assert (first.datasets, first.budget) == (second.datasets, second.budget)
        assert first.initial != second.initial
    compared = {name for pair in COMPARISONS for name in pair}
    transfers = {entry.name for entry in EXPERIMENTS.values() if entry.role == "transfer"}
    assert compared == transfers
