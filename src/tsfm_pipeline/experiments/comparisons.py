"""Which experiments of the grid are tested against each other."""

from tsfm_pipeline.experiments.grid import ABLATED, BUDGETS, DOWNSTREAM

COMPARISONS: tuple[tuple[str, str], ...] = (
    *(
        (f"transfer.{dataset}.pretrained.{budget}", f"transfer.{dataset}.scratch.{budget}")
        for dataset in DOWNSTREAM
        for budget in BUDGETS
    ),
    *(
        (f"transfer.{dataset}.pretrained.epoch100", f"ablation.{row}.{dataset}")
        for row in ABLATED
        for dataset in DOWNSTREAM
    ),
)
"""(experiment, baseline): pre-trained against from scratch at the same budget (Table 2), and the
whole pool against one of its datasets (Table 3)."""
