"""The pool catalogue as one HTML page without scripts, that needs no server and no other file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from tsfm_pipeline.pool.figures import (
    as_svg,
    overview_figure,
    targets_figure,
    thumbnail_address,
)
from tsfm_pipeline.pool.roles import Role
from tsfm_pipeline.preparation.verdict import Verdict

MOST_ROWS = 200
"""Longer lists are cut here; the tables beside the page have all rows."""
MOST_PICTURES = 40
"""Pairs of which the page has pictures, 5 KB each."""

_TEMPLATES = Environment(
    loader=PackageLoader("tsfm_pipeline.pool"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class PoolTables:
    """Everything the page shows.

    Attributes:
        catalogue: the pool catalogue, for the cases that were set aside.
        datasets: rows of `tables.dataset_table`.
        targets: rows of `tables.target_table`.
        supervision: rows of `tables.supervision_table`.
        leakage: rows of `leakage.find_leakage`.
        duplicates: pairs that are one scan or one patient (`duplicates.find_duplicates`).
        doubtful_pairs: pairs that may be, the likeliest first.
        overlaps: rows of `tables.overlap_table`.
        version: the row of this pool (`version.describe_version`).
        versions: all versions seen so far.
    """

    catalogue: pd.DataFrame
    datasets: pd.DataFrame
    targets: pd.DataFrame
    supervision: pd.DataFrame
    leakage: pd.DataFrame
    duplicates: pd.DataFrame
    doubtful_pairs: pd.DataFrame
    overlaps: pd.DataFrame
    version: pd.DataFrame
    versions: pd.DataFrame


def pool_page(
    tables: PoolTables,
    thumbnail_of: Callable[[str], NDArray[np.floating]],
    title: str,
    view: str,
    warning: str = "",
) -> str:
    """Return the page.

    Args:
        tables: what it shows.
        thumbnail_of: gives the (z, y, x) thumbnail of a case by its key.
        title: name of the workspace.
        view: the command that shows a case, without the case.
        warning: a sentence to stand out on top, such as that the data are synthetic.
    """
    catalogue, datasets = tables.catalogue, tables.datasets
    bad = catalogue[catalogue["verdict"] != Verdict.OK]
    causes = bad["cause"].fillna(bad["verdict"])  # in a catalogue of before: the sentence
    doubtful = catalogue[catalogue["doubts"].notna() & (catalogue["verdict"] == Verdict.OK)]
    unseen = tables.targets[tables.targets["cases"] == 0]
    return _TEMPLATES.get_template("pool_page.html").render(
        title=title,
        view=view,
        warning=warning,
        version=tables.version.iloc[0].to_dict(),
        day=_day,
        most=MOST_ROWS,
        tiles=_tiles(tables),
        overview=Markup(as_svg(overview_figure(datasets))),
        targets=Markup(as_svg(targets_figure(tables.targets))),
        datasets=_datasets(datasets),
        sources=datasets[["dataset", "licence", "url"]].to_dict("records"),
        matrix=_matrix(tables.supervision, datasets),
        leakage=_leakage(tables.leakage),
        overlaps=_cut(tables.overlaps),
        copies=_cut(_within_a_part(tables.duplicates, datasets)),
        pairs=_pictured(tables.doubtful_pairs, thumbnail_of),
        set_aside=_cut(bad[["key"]].assign(cause=causes)),
        doubtful=_cut(doubtful[["key", "doubts"]]),
        unseen=unseen.groupby("dataset", sort=False)["target"].agg(", ".join).to_dict(),
        versions=_versions(tables.versions),
    )


def _tiles(tables: PoolTables) -> list[tuple[Any, str]]:
    """Return the figures on top with what they count."""
    version = tables.version.iloc[0]
    ours = tables.datasets[tables.datasets["part"] == "pool"]
    targets = tables.targets.loc[tables.targets["dataset"].isin(ours["dataset"]), "target"]
    return [
        (version["cases"], "cases in the pool"),
        (len(ours), "datasets"),
        (targets.nunique(), "targets"),
        *((version[role], role) for role in get_args(Role)),
        (int(ours["quarantined"].sum()), "quarantined"),
        (version["leaking"], "also downstream"),
        (version["left_out"], "left out for it"),
    ]


def _datasets(datasets: pd.DataFrame) -> dict[str, Any]:
    counts = ["found", "ok", "repaired", "quarantined", "left_out", *get_args(Role)]
    counts += ["release", "paper"]
    header = ["dataset", "modality", *(name.replace("_", " ") for name in counts)]
    header += ["spacing z y x, mm (median)", "size z y x (median)"]
    rows: list[list[Any]] = []
    for row in datasets.to_dict("records"):
        rows.append(
            [
                row["dataset"],
                row["modalities"],
                *("" if pd.isna(row[name]) else int(row[name]) for name in counts),
                " ".join(f"{row[f'spacing_{axis}_median']:.3g}" for axis in "zyx"),
                " ".join(f"{row[f'size_{axis}_median']:.0f}" for axis in "zyx"),
            ]
        )
    ours = datasets[datasets["part"] == "pool"]
    sums = [int(ours[name].sum()) if ours[name].notna().any() else "" for name in counts]
    rows.insert(len(ours), ["the pool", "", *sums, "", ""])
    return {
        "header": header,
        "rows": rows,
        "sum": len(ours),
        "of_paper": bool(ours["paper"].notna().any()),
    }


def _matrix(supervision: pd.DataFrame, datasets: pd.DataFrame) -> dict[str, Any]:
    """Return the datasets, and per region its cells: cases, whether by parts, and CSS class."""
    cells = supervision.groupby(["region", "dataset"], sort=False)
    cases, by_parts = cells["cases"].sum().to_dict(), cells["by_parts"].any().to_dict()
    regions = list(dict.fromkeys(supervision["region"]))
    parts = dict(zip(datasets["dataset"], datasets["part"], strict=True))
    regions.sort(key=lambda region: -sum((region, name) in cases for name in parts))
    kinds = {name: "down" if part == "downstream" else "yes" for name, part in parts.items()}
    rows = {
        region: [
            (cases.get((region, name), 0), by_parts.get((region, name), False), kind)
            for name, kind in kinds.items()
        ]
        for region in regions
    }
    return {"datasets": list(parts), "rows": rows}


def _within_a_part(duplicates: pd.DataFrame, datasets: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs that leakage does not show: both cases of the pool, or both downstream."""
    part_of = dict(zip(datasets["dataset"], datasets["part"], strict=True))
    one, other = (
        duplicates[name].str.split("/").str[0].map(part_of) for name in ("key", "other_key")
    )
    columns = ["part", "key", "other_key", "evidence", "correlation"]
    return duplicates.assign(part=one)[one == other][columns]


def _pictured(
    pairs: pd.DataFrame, thumbnail_of: Callable[[str], NDArray[np.floating]]
) -> dict[str, Any]:
    """Return the first pairs with the addresses of their pictures, and how many there are."""
    shown = [
        {
            "cases": [(key, thumbnail_address(thumbnail_of(key))) for key in (one, other)],
            "correlation": correlation,
            "source": source,
        }
        for one, other, _, correlation, source in pairs.fillna({"source": ""})
        .head(MOST_PICTURES)
        .itertuples(index=False)
    ]
    return {"shown": shown, "total": len(pairs)}


def _leakage(leakage: pd.DataFrame) -> dict[str, Any]:
    return {
        **_cut(leakage[["pool_key", "downstream_key", "evidence", "correlation"]]),
        "cases": leakage["pool_key"].nunique(),
        "pairs": leakage["evidence"].value_counts().to_dict(),
    }


def _versions(versions: pd.DataFrame) -> dict[str, Any]:
    names = ["version", "date", "kind", "cases", "leaking", "left_out", "datasets"]
    newest = versions.sort_values("date", ascending=False)
    return _cut(newest.assign(date=newest["date"].map(_day))[names])


def _cut(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first rows of a table, its headings and how many rows it has."""
    return {
        "header": [str(name).replace("_", " ") for name in table],
        "rows": table.head(MOST_ROWS).to_dict("split")["data"],
        "total": len(table),
    }


def _day(date: str) -> str:
    """Shorten an ISO date and time in UTC."""
    return f"{date[:10]} {date[11:16]} UTC"
