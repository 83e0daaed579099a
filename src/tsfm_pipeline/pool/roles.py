"""The part that a case plays in a split."""

from typing import Literal

import pandas as pd

Role = Literal["training", "validation", "test"]


def scored_role(splits: pd.DataFrame) -> Role:
    """Return the role of the cases that are predicted and scored: `test` where a split has it.

    In a split as nnU-Net's the validation cases are scored, which have chosen the best weights.

    Args:
        splits: all rows of `splits.split_cases`.
    """
    return "test" if (splits["role"] == "test").any() else "validation"
