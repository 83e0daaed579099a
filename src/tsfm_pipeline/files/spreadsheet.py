"""Tables as CSV that people open in a spreadsheet, which runs a cell that reads as a formula."""

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What the text of a formula may start with (OWASP, "CSV injection")."""


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its index.

    Names and texts come from strangers' files. A text that would be a formula gets an apostrophe in
    front, by which a spreadsheet takes it as the text that it is; numbers stay as they are.
    """
    plain = table.copy()
    for name in plain.columns:
        if not pd.api.types.is_numeric_dtype(plain[name]):
            plain[name] = plain[name].map(_disarmed)
    return plain.to_csv(index=False)


def _disarmed(cell: object) -> object:
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
