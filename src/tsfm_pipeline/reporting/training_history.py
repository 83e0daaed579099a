"""The epochs of every training, from the model folders."""

from collections.abc import Mapping

import pandas as pd

from tsfm_pipeline.model.folder import ModelFolder

HISTORY_COLUMNS = ("experiment", "epoch", "loss", "dice", "dice_ema")
"""`epoch` counts from 0; `loss`: training loss; `dice`: pseudo-Dice of the validation patches, and
`dice_ema` its moving average, NaN without validation cases."""

_NAMES = {"loss": "train/loss", "dice": "val/dice", "dice_ema": "val/dice_ema"}


def read_history(folders: Mapping[str, ModelFolder]) -> pd.DataFrame:
    """Read the metrics of trainings; one that has not finished an epoch has no rows.

    Args:
        folders: experiment -> model folder.

    Returns:
        Rows with HISTORY_COLUMNS; of an epoch that was repeated after a restart, the last.
    """
    rows = []
    for experiment, folder in folders.items():
        rows += [
            (experiment, epoch["epoch"], *(epoch.get(name) for name in _NAMES.values()))
            for epoch in folder.epochs()
        ]
    frame = pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))
    return frame.astype(dict.fromkeys(_NAMES, float))
