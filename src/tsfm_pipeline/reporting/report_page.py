"""The report as one HTML page without scripts, that needs no server and no other file."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.threshold import BASELINE
from tsfm_pipeline.reporting.comparison import SHOWN
from tsfm_pipeline.reporting.dice_summary import experiment_title
from tsfm_pipeline.reporting.headlines import headlines
from tsfm_pipeline.reporting.missing import what_is_missing
from tsfm_pipeline.reporting.page_tables import PageTable, is_pattern, page_table
from tsfm_pipeline.reporting.paper_check import CHECK_TITLE, in_unit
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.provenance import Origin, Provenance
from tsfm_pipeline.reporting.report_tables import ReportTables, reasons_of
from tsfm_pipeline.reporting.staleness import BASELINE_RUNS_WITH

_TEMPLATES = Environment(
    loader=PackageLoader("tsfm_pipeline.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class _Experiment:
    """An experiment's part of the page: where its figures come from, and its Dice per target."""

    name: str
    anchor: str
    status: str
    reason: str
    origin: Origin
    stale: bool
    command: str
    title: str
    scores: list[dict[Hashable, Any]]


def report_page(
    tables: ReportTables,
    paper_tables: PaperTables,
    evaluation: EvaluationSettings,
    provenance: Provenance,
    figures: Sequence[str] = (),
    cases: Sequence[pd.DataFrame] = (),
) -> str:
    """Return the page.

    Args:
        tables: what it shows.
        paper_tables: the definitions of the paper's tables.
        evaluation: how was scored.
        provenance: where the figures come from.
        figures: SVG elements in the order they stand in; an empty text is none.
        cases: tables of those in the figures: case, targets, system, experiment, dice, note.
    """
    tests = tables.tests
    return _TEMPLATES.get_template("report.html").render(
        provenance=provenance,
        headlines=headlines(tables.comparison, paper_tables, tables.dice, provenance.stale),
        missing=what_is_missing(tables.comparison, tables.statuses),
        paper_tables=_page_tables(tables.comparison, paper_tables),
        figures=[Markup(svg) for svg in figures if svg],  # matplotlib escapes their texts
        cases=[row for table in cases for row in table.fillna({"note": ""}).to_dict("records")],
        check_title=CHECK_TITLE,
        paper_check=tables.paper_check.to_dict("records"),
        experiments=_experiments(tables, provenance),
        tests=tests[tests["status"] == "tested"].to_dict("records"),
        untested=int((tests["status"] != "tested").sum()),
        nsd_mm=evaluation.nsd_tolerance_mm,
        reasons=reasons_of(tables.statuses),
        anchor=anchor,
        number=_number,
        signed=_signed,
        in_unit=in_unit,
        duration=_duration,
    )


def anchor(experiment: str) -> str:
    """Return the id of an experiment's part of the page."""
    return f"experiment-{experiment.replace('.', '-')}"


def _page_tables(comparison: pd.DataFrame, paper_tables: PaperTables) -> list[PageTable]:
    return [
        page_table(comparison[comparison["table"] == name], table, name)
        for name, table in paper_tables.root.items()
    ]


def _experiments(tables: ReportTables, provenance: Provenance) -> list[_Experiment]:
    """List all experiments that have a status, a cell or scores."""
    statuses = {str(row["experiment"]): str(row["status"]) for row in _rows(tables.statuses)}
    reasons = reasons_of(tables.statuses)
    scores = {str(name): rows for name, rows in tables.dice.groupby("experiment", sort=False)}
    cells: dict[str, str] = {}
    for cell in _rows(tables.comparison):
        name = str(cell["experiment"])
        if name and not is_pattern(name):
            shown = cell["status"] in SHOWN
            cells[name] = "finished" if shown else cells.get(name, str(cell["status"]))
    found = []
    for name in dict.fromkeys([*statuses, *scores, *cells]):
        rows = scores.get(name)
        status = statuses.get(name) or ("finished" if rows is not None else cells[name])
        reason = reasons.get(name, "")
        if name == BASELINE and status == "not run":
            reason = f"it is scored with the pipeline of {BASELINE_RUNS_WITH}"
        found.append(
            _Experiment(
                name=name,
                anchor=anchor(name),
                status="stale" if name in provenance.stale else status,
                reason=reason,
                origin=provenance.origins.get(name, Origin()),
                stale=name in provenance.stale,
                command=provenance.command(name),
                title=name if rows is None else experiment_title(name, rows["protocol"].iloc[0]),
                scores=[] if rows is None else rows.to_dict("records"),
            )
        )
    return found


def _rows(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return frame.to_dict("records")


def _number(value: float, digits: int = 4) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _duration(hours: float) -> str:
    for unit, per_hour in (("hours", 1), ("minutes", 60)):
        if hours * per_hour >= 1:
            return f"{hours * per_hour:.1f} {unit}"
    return f"{hours * 3600:.2g} seconds"


def _signed(value: float, digits: int = 4) -> str:
    return "" if np.isnan(value) else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
