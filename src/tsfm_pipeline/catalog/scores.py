"""A table of scores as a catalogue entry; absent means an empty table."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from tsfm_pipeline.evaluation.metrics import SCORE_COLUMNS

PREVIEW_ROWS = 20


class ScoresDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """Parquet file of one experiment's scores, one row per (weights, case, target)."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Name the file."""
        self._path = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return the scores; no rows when nothing was saved."""
        if not self._path.is_file():
            return pd.DataFrame(columns=list(SCORE_COLUMNS))
        return pd.read_parquet(self._path)

    def save(self, data: pd.DataFrame) -> None:
        """Write the scores."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data[list(SCORE_COLUMNS)].to_parquet(self._path, index=False)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}

    def preview(self) -> TablePreview:
        """Return the first rows."""
        return TablePreview(self.load().head(PREVIEW_ROWS).to_dict(orient="split"))
