"""The paper's tables with ours as LaTeX, in the layout of the paper."""

import pandas as pd

from tsfm_pipeline.reporting.page_tables import Cell, PageRow, PageTable, page_table
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Provenance

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)
_NO_FIGURE = "--"


def tables_latex(comparison: pd.DataFrame, tables: PaperTables, provenance: Provenance) -> str:
    r"""Render every table as a `table` environment, for `\input` into a text with booktabs.

    Args:
        comparison: all tables in long form, with `cell_statistics.STATISTICS_COLUMNS`.
        tables: their definitions.
        provenance: for the captions.
    """
    parts = [
        _table(page_table(comparison[comparison["table"] == name], table, name), provenance)
        for name, table in tables.root.items()
    ]
    return "% \\usepackage{booktabs}\n" + "\n".join(parts)


def escape(text: str) -> str:
    """Write plain text so that LaTeX prints it as it is."""
    return text.translate(_ESCAPES)


def _table(table: PageTable, provenance: Provenance) -> str:
    width = len(table.columns)
    synthetic = f"{escape(provenance.data_note)} " if provenance.phantoms else ""
    caption = " ".join(
        [
            f"{table.title.partition('. ')[2] or table.title}. {synthetic}Dataset pool"
            f" {provenance.pool}. Ours with the best checkpoint and, below, 95 % interval, or"
            " standard deviation over seeds; bold:"
            " the highest printed number and the highest of ours; *:"
            " differs from what it is the baseline of (Wilcoxon, Holm, p < 0.05).",
            *provenance.selected_on(table.experiments),
            *provenance.starts(table.experiments),
        ]
    )
    lines = [
        r"\begin{table}",
        r"\centering\scriptsize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{escape(caption).replace('<', '$<$')}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
    ]
    if table.groups:
        spans = [rf"\multicolumn{{{span}}}{{c}}{{{escape(group)}}}" for group, span in table.groups]
        lines.append(" & ".join(["", *spans]) + r" \\")
    lines += [" & ".join(["", *map(escape, table.columns)]) + r" \\", r"\midrule"]
    for i, (name, rows) in enumerate(table.blocks):
        if i:
            lines.append(r"\midrule")
        if name:
            lines.append(rf"\multicolumn{{{width + 1}}}{{l}}{{{escape(name)}}} \\")
        lines += [line for row in rows for line in _lines(row)]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _lines(row: PageRow) -> list[str]:
    """Return a method's lines: printed numbers, ours, and their intervals."""
    lines = []
    if row.has_paper:
        printed = [_bold(c.paper, c.paper_is_best) if c and c.has_paper else "" for c in row.cells]
        lines.append([escape(row.heading), *printed])
    heading = "ours" if row.has_paper else f"{row.heading} (ours)"
    lines.append([rf"\quad {escape(heading)}", *map(_ours, row.cells)])
    spreads = [_spread(c) if c and c.has_ours else "" for c in row.cells]
    if any(spreads):
        lines.append(["", *spreads])
    return [" & ".join(cells) + r" \\" for cells in lines]


def _ours(cell: Cell | None) -> str:
    if cell is None or not cell.experiment:
        return ""
    if not cell.has_ours:
        return _NO_FIGURE
    mark = r"$^{*}$" if cell.differs else ""
    stale = r"$^{\dagger}$" if cell.is_stale else ""
    return f"{_bold(cell.ours, cell.ours_is_best)}{mark}{stale}"


def _spread(cell: Cell) -> str:
    """Return the interval of a training, or the spread of several."""
    if cell.seeds > 1:
        return rf"\tiny $\pm$ {cell.sd:.2f} ({cell.seeds} seeds)"
    return rf"\tiny {cell.low:.2f}--{cell.high:.2f}" if cell.has_interval else ""


def _bold(value: float, bold: bool) -> str:
    return rf"\textbf{{{value:.4f}}}" if bold else f"{value:.4f}"
