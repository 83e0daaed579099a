"""Tables as CSV that people open in a spreadsheet, which runs a cell that reads as a formula."""

from collections.abc import Callable

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What the text of a formula may start with (OWASP, "CSV injection")."""


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its index, with `disarmed` texts."""
    return disarmed(table).to_csv(index=False)


def disarmed(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without texts that a spreadsheet would run.

    Names and texts come from strangers' files. A text that would be a formula gets an apostrophe in
    front, by which a spreadsheet takes it as the text that it is; numbers stay as they are.
    """
    return _with_texts(table, _disarmed)


def as_before(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `disarmed` was given."""
    return _with_texts(table, _as_before)


def _with_texts(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    changed = table.copy()
    for name in changed.columns:
        if not pd.api.types.is_numeric_dtype(changed[name]):
            changed[name] = changed[name].map(change)
    return changed


def _as_before(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith("'") and _is_formula(cell):
        return cell[1:]
    return cell


def _is_formula(cell: str) -> bool:
    """Tell of a text that it starts like one, apostrophes of its own aside: one more comes off."""
    return cell.lstrip("'").startswith(FORMULA)


def _disarmed(cell: object) -> object:
    if not isinstance(cell, str) or not _is_formula(cell):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
