"""A table as a catalogue entry that may not be there yet: absent means empty."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

PREVIEW_ROWS = 20


class OptionalTableDataset(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """Parquet file with declared columns; what has not been run loads as a table without rows."""

    def __init__(
        self, *, filepath: str, columns: list[str], metadata: dict[str, Any] | None = None
    ) -> None:
        """Name the file and its columns."""
        self._path = Path(filepath)
        self._columns = list(columns)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        """Return the table; no rows when nothing was saved."""
        if not self._path.is_file():
            return pd.DataFrame(columns=self._columns)
        return pd.read_parquet(self._path)

    def save(self, data: pd.DataFrame) -> None:
        """Write the declared columns; raise KeyError when one is missing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data[self._columns].to_parquet(self._path, index=False)

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path), "columns": self._columns}

    def preview(self) -> TablePreview:
        """Return the first rows."""
        return TablePreview(self.load().head(PREVIEW_ROWS).to_dict(orient="split"))
