"""Tables as Markdown that reads well as plain text, too."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tsfm_pipeline.reporting.comparison import SHOWN
from tsfm_pipeline.reporting.paper_tables import PaperTable
from tsfm_pipeline.reporting.provenance import Provenance
from tsfm_pipeline.reporting.staleness import MARK, STALE

MISSING = "-"


def paper_table_markdown(
    frame: pd.DataFrame,
    table: PaperTable,
    provenance: Provenance,
    reasons: Mapping[str, str] | None = None,
) -> str:
    """Render a table with our figures right of the printed ones.

    The paper's columns become lines and its rows become columns, which keeps all numbers of a
    target side by side and fits a terminal.

    Args:
        frame: the table's long form (`comparison.build_table`).
        table: its definition.
        provenance: for the header.
        reasons: experiment -> why it has no figure.
    """
    headings = list(dict.fromkeys(row.heading for block in table.blocks for row in block.rows))
    names = {row.name: row.heading for block in table.blocks for row in block.rows}
    cells = {
        (str(cell["block"]), str(cell["column"]), names[str(cell["row"])]): cell
        for cell in frame.to_dict("records")
    }
    columns: dict[tuple[str, str], str] = {}
    for heading in headings:
        found = frame[frame["row"].map(names) == heading]
        if found["paper"].notna().any():
            columns[heading, "paper"] = heading
        has_paper = (heading, "paper") in columns
        if has_paper:
            columns[heading, "ours_best"] = "ours best"
        columns[heading, "ours_final"] = "ours final" if has_paper else f"{heading} (ours)"

    lines = []
    for block in table.blocks:
        for column in table.columns:
            group = block.name or column.group
            line = [group, column.name]
            for heading, kind in columns:
                key = (block.name, column.key, heading)
                line.append(_cell(cells[key], kind) if key in cells else MISSING)
            here = frame[(frame["block"] == block.name) & (frame["column"] == column.key)]
            n = int(here["n"].max()) if len(here) else 0
            lines.append([*line, str(n) if n else MISSING])
    header = ["", "", *columns.values(), "cases"]
    if not any(line[0] for line in lines):
        header, lines = header[1:], [line[1:] for line in lines]
    else:
        lines = _repeats_blanked(lines)

    experiments = {
        (block.name, row.name, column.key): row.experiment_of(column)
        for block in table.blocks
        for row in block.rows
        for column in table.columns
    }
    marked = frame[frame["status"] == STALE]
    places = zip(marked["block"], marked["row"], marked["column"], strict=True)
    stale = [name for place in places if (name := experiments[place])]
    shown = frame.loc[frame["status"].isin(SHOWN), "experiment"]
    notes = [
        *provenance.notes(stale),
        *provenance.selected_on(shown),
        *provenance.starts(shown),
        "A method's column holds the paper's printed Dice; `ours best` and `ours final` right of"
        " it are this run's, with the best and the final checkpoint.",
        *table.notes,
        *reason_notes(frame, reasons or {}),
    ]
    return "\n".join(
        [
            f"## {table.title}",
            "",
            provenance.header(),
            "",
            markdown_table(header, lines, text_columns=len(header) - len(columns) - 1),
            "",
            *(f"- {note}" for note in notes),
            "",
        ]
    )


def own_table_markdown(
    frame: pd.DataFrame,
    table: PaperTable,
    provenance: Provenance,
    reasons: Mapping[str, str] | None = None,
) -> str:
    """Render a table without printed numbers, a line per row: Dice, interval or spread, and cases.

    Args:
        frame: the table's long form, with `cell_statistics.STATISTICS_COLUMNS`.
        table: its definition.
        provenance: for the header.
        reasons: experiment -> why it has no figure.
    """
    cells = {
        (str(cell["block"]), str(cell["row"]), str(cell["column"])): _own_cell(cell)
        for cell in frame.to_dict("records")
    }
    lines = [
        [
            block.name,
            row.heading,
            *(cells.get((block.name, row.name, column.key), "") for column in table.columns),
        ]
        for block in table.blocks
        for row in block.rows
    ]
    header = ["", "", *(f"{column.group} {column.name}".strip() for column in table.columns)]
    shown = frame.loc[frame["status"].isin(SHOWN), "experiment"]
    notes = [
        *provenance.notes(shown),
        *provenance.selected_on(shown),
        *provenance.starts(shown),
        "Mean Dice of the best checkpoint, 95 % interval or standard deviation, cases.",
        *table.notes,
        *reason_notes(frame, reasons or {}),
    ]
    return "\n".join(
        [
            f"## {table.title}",
            "",
            provenance.header(),
            "",
            markdown_table(header, _repeats_blanked(lines), text_columns=2),
            "",
            *(f"- {note}" for note in notes),
            "",
        ]
    )


def reason_notes(frame: pd.DataFrame, reasons: Mapping[str, str]) -> list[str]:
    """Say why cells of a table have no figure, each reason once.

    Args:
        frame: the table's long form.
        reasons: experiment -> why it has no figure.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for cell in frame[~frame["status"].isin(SHOWN)].to_dict("records"):
        if (name := str(cell["experiment"])) in reasons:
            found.setdefault((str(cell["status"]), reasons[name]), set()).add(name)
    return [
        f"{status}: {reason} ({len(names)} {'experiment' if len(names) == 1 else 'experiments'})."
        for (status, reason), names in found.items()
    ]


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return an aligned Markdown table; the first `text_columns` to the left, numbers right."""
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    widths = [max(width, 3) for width in widths]

    def render(line: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if i < text_columns else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    return "\n".join([render(header), f"| {' | '.join(rule)} |", *(render(line) for line in lines)])


def _cell(cell: dict[Hashable, Any], kind: str) -> str:
    value = float(cell[kind])
    if kind == "paper":
        return number(value)
    if not np.isnan(value):
        return f"{number(value)} {MARK}" if cell["status"] == STALE else number(value)
    # A state is said once: in our first column of the cell.
    first = "ours_final" if np.isnan(cell["paper"]) else "ours_best"
    return str(cell["status"]) if kind == first and cell["status"] not in SHOWN else MISSING


def _own_cell(cell: dict[Hashable, Any]) -> str:
    if cell["status"] not in SHOWN:
        return str(cell["status"])
    best = float(cell["ours_best"])
    parts = [number(float(cell["ours_final"]) if np.isnan(best) else best)]
    if cell["seeds"] > 1:
        parts.append(f"± {cell['ours_sd']:.3f} ({cell['seeds']} seeds)")
    elif not np.isnan(cell["ours_low"]):
        parts.append(f"[{cell['ours_low']:.3f}, {cell['ours_high']:.3f}]")
    parts.append(f"n {cell['n']}")
    return " ".join([*parts, *([MARK] if cell["status"] == STALE else [])])


def number(value: float, digits: int = 4) -> str:
    """Return a figure as it stands in a table; `-` for none."""
    return MISSING if np.isnan(value) else f"{value:.{digits}f}"


def _repeats_blanked(lines: list[list[str]]) -> list[list[str]]:
    previous = ""
    blanked = []
    for line in lines:
        blanked.append(["" if line[0] == previous else line[0], *line[1:]])
        previous = line[0]
    return blanked
