"""Tables of several experiments under one another."""

import pandas as pd


def concatenate_tables(*tables: pd.DataFrame) -> pd.DataFrame:
    """Put tables of the same columns under one another; what has not been run has no rows."""
    found = [table for table in tables if not table.empty]
    return pd.concat(found, ignore_index=True) if found else tables[0]
