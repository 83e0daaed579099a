"""A table as CSV, for people and for the nodes that follow."""

import pandas as pd
from kedro_datasets.pandas import CSVDataset

from tsfm_pipeline.files.spreadsheet import as_before, disarmed


class CSVTableDataset(CSVDataset):  # type: ignore[misc]  # untyped
    """Kedro's CSV file, in which a spreadsheet finds nothing to run; it loads as it was saved."""

    def load(self) -> pd.DataFrame:
        """Return the table as it was saved."""
        return as_before(super().load())

    def save(self, data: pd.DataFrame) -> None:
        """Write the table without formulas."""
        super().save(disarmed(data))
