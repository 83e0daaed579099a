"""The pool catalogue as one HTML page without scripts, that needs no server and no other file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from tsfm_pipeline.pool.figures import as_svg, overview_figure, targets_figure
from tsfm_pipeline.preparation.verdict import Verdict

MOST_ROWS = 200
"""Longer lists are cut here; the tables beside the page have all rows."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2327; background: #fff;
  max-width: 1240px; margin: 0 auto; padding: 28px 24px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 8px; }
p { margin: 6px 0 12px; max-width: 62em; }
code { background: #f2f4f6; padding: 1px 4px; border-radius: 3px; }
svg { width: 100%; height: auto; }
.note { color: #5c666d; font-size: 13.5px; }
.warn { background: #fff4d6; border-left: 4px solid #e0a800; padding: 8px 12px; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0; }
.tile { border: 1px solid #dfe4e8; border-radius: 8px; padding: 10px 16px; min-width: 96px; }
.tile b { display: block; font-size: 22px; line-height: 1.25; }
.tile span { color: #5c666d; font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; width: 100%; }
th, td { padding: 4px 8px; border-bottom: 1px solid #e8ecef; text-align: left;
  vertical-align: top; }
th { color: #5c666d; font-weight: 600; border-bottom: 2px solid #cfd6db; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n, td:first-child { white-space: nowrap; }
tr.sum td { font-weight: 600; border-top: 2px solid #cfd6db; border-bottom: 2px solid #cfd6db; }
.matrix { width: auto; }
.matrix td { text-align: center; min-width: 30px; padding: 2px 4px; font-size: 12px; }
.matrix td:first-child { text-align: left; white-space: nowrap; padding-right: 14px; }
.matrix th { height: 132px; vertical-align: bottom; padding: 0 4px 6px; text-align: center; }
.matrix th span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.matrix .yes { background: #d5e8f0; color: #0b4f6c; }
.matrix .down { background: #efe6d5; color: #6b531f; }
"""


@dataclass(frozen=True)
class PoolTables:
    """Everything the page shows.

    Attributes:
        catalogue: the pool catalogue, for the cases that were set aside.
        datasets: rows of `tables.dataset_table`.
        targets: rows of `tables.target_table`.
        supervision: rows of `tables.supervision_table`.
        leakage: rows of `leakage.find_leakage`.
        version: the row of this pool (`version.describe_version`).
        versions: all versions seen so far.
    """

    catalogue: pd.DataFrame
    datasets: pd.DataFrame
    targets: pd.DataFrame
    supervision: pd.DataFrame
    leakage: pd.DataFrame
    version: pd.DataFrame
    versions: pd.DataFrame


def pool_page(tables: PoolTables, title: str, warning: str = "") -> str:
    """Return the page.

    Args:
        tables: what it shows.
        title: name of the workspace.
        warning: a sentence to stand out on top, such as that the data are synthetic.
    """
    version = tables.version.iloc[0]
    parts = [
        f"<h1>Dataset pool <code>{escape(version['version'])}</code></h1>",
        f'<p class="note">{escape(title)} · {_day(version["date"])} · {escape(version["kind"])}'
        f" · prepared with: {escape(version['preparation'])}</p>",
        f'<p class="warn">{escape(warning)}</p>' if warning else "",
        _tiles(tables),
        "<h2>Datasets</h2>",
        as_svg(overview_figure(tables.datasets)),
        '<p class="note">Raw images in canonical orientation: lines reach from the smallest to the'
        " largest value, dots are medians. Downstream datasets are brown.</p>",
        _datasets(tables.datasets),
        "<h2>Targets</h2>",
        as_svg(targets_figure(tables.targets)),
        '<p class="note">All datasets, downstream ones included.</p>',
        "<h2>Who annotates what</h2>",
        '<p class="note">Cases in use that annotate a region (a channel of the network). An empty'
        " cell is unknown, not background: the loss leaves it out.</p>",
        _matrix(tables.supervision, tables.datasets),
        "<h2>Pool cases that are downstream cases, too</h2>",
        _leakage(tables.leakage, version),
        "<h2>Set aside</h2>",
        _set_aside(tables.catalogue),
        "<h2>Licences and sources</h2>",
        _table(
            ["dataset", "licence or terms", "source"],
            [
                (row["dataset"], row["licence"], _link(row["url"]))
                for row in tables.datasets.to_dict("records")
            ],
        ),
        "<h2>Versions of the pool seen so far</h2>",
        _versions(tables.versions),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Pool {escape(version['version'])}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


class _Html(str):
    """Text that is markup already."""


def _tiles(tables: PoolTables) -> str:
    version = tables.version.iloc[0]
    ours = tables.datasets[tables.datasets["part"] == "pool"]
    targets = tables.targets.loc[tables.targets["dataset"].isin(ours["dataset"]), "target"]
    tiles = [
        (version["cases"], "cases in the pool"),
        (len(ours), "datasets"),
        (targets.nunique(), "targets"),
        (version["training"], "training"),
        (version["validation"], "held out"),
        (int(ours["quarantined"].sum()), "quarantined"),
        (version["leaking"], "also downstream"),
        (version["left_out"], "left out for it"),
    ]
    inner = "".join(f'<div class="tile"><b>{n}</b><span>{text}</span></div>' for n, text in tiles)
    return f'<div class="tiles">{inner}</div>'


def _datasets(datasets: pd.DataFrame) -> str:
    counts = ["found", "ok", "repaired", "quarantined", "left_out", "training", "validation"]
    counts += ["release", "paper"]
    header = ["dataset", "modality", *(name.replace("_", " ") for name in counts)]
    header += ["spacing z y x, mm (median)", "size z y x (median)"]
    rows: list[Sequence[object]] = []
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
    note = ""
    if ours["paper"].notna().any():
        note = (
            '<p class="note">release: usable labelled cases of the public download. paper: it gives'
            " 2779 in all and no count per dataset; the column is the most plausible sum, with the"
            " publisher's numbers where they differ from the files one really gets.</p>"
        )
    return note + _table(header, rows, numbers=range(2, len(header)), sums={len(ours)})


def _matrix(supervision: pd.DataFrame, datasets: pd.DataFrame) -> str:
    cases = supervision.groupby(["region", "dataset"], sort=False)["cases"].sum().to_dict()
    regions = list(dict.fromkeys(supervision["region"]))
    parts = dict(zip(datasets["dataset"], datasets["part"], strict=True))
    regions.sort(key=lambda region: -sum((region, name) in cases for name in parts))
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in parts)
    lines = []
    for region in regions:
        cells = []
        for name, part in parts.items():
            kind = "down" if part == "downstream" else "yes"
            count = cases.get((region, name))
            cells.append(f'<td class="{kind}">{count}</td>' if count else "<td></td>")
        lines.append(f"<tr><td>{escape(region)}</td>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><tr><th></th>{head}</tr>'
        f"{''.join(lines)}</table></div>"
    )


def _leakage(leakage: pd.DataFrame, version: pd.Series) -> str:
    if leakage.empty:
        return "<p>None found, by identifier, voxel values or thumbnail.</p>"
    pairs = leakage["evidence"].value_counts()
    text = (
        f"<p>{leakage['pool_key'].nunique()} pool cases, found by"
        f" {', '.join(f'{kind} ({count} pairs)' for kind, count in pairs.items())}."
        f" In this version {version['left_out']} are left out for it and {version['leaking']} are"
        " kept. A person has one fold in all datasets, so nobody who is held out downstream trains"
        " in the pool.</p>"
    )
    rows = [
        (row.pool_key, row.downstream_key, row.evidence, f"{row.correlation:.3f}")
        for row in leakage.head(MOST_ROWS).itertuples()
    ]
    header = ["pool case", "downstream case", "evidence", "thumbnails' correlation"]
    return text + _table(header, rows, numbers=[3]) + _cut(leakage, "leakage.csv")


def _set_aside(catalogue: pd.DataFrame) -> str:
    bad = catalogue[catalogue["verdict"] != Verdict.OK]
    if bad.empty:
        return "<p>No case.</p>"
    causes = bad["cause"].fillna(bad["verdict"])  # where a catalogue of before has the sentence
    rows = list(zip(bad["key"], causes, strict=True))[:MOST_ROWS]
    return _table(["case", "why"], rows) + _cut(bad, "pool_catalogue.csv")


def _versions(versions: pd.DataFrame) -> str:
    names = ["version", "date", "kind", "cases", "leaking", "left_out", "datasets"]
    newest = versions.sort_values("date", ascending=False).head(MOST_ROWS)
    newest = newest.assign(date=newest["date"].map(_day))
    rows = newest[names].to_numpy().tolist()
    header = [name.replace("_", " ") for name in names]
    return _table(header, rows, numbers=[3, 4, 5]) + _cut(versions, "pool_versions.csv")


def _cut(table: pd.DataFrame, file: str) -> str:
    if len(table) <= MOST_ROWS:
        return ""
    return f'<p class="note">{MOST_ROWS} of {len(table)} rows; all are in {escape(file)}.</p>'


def _day(date: str) -> str:
    """Shorten an ISO date and time in UTC."""
    return f"{date[:10]} {date[11:16]} UTC"


def _link(url: str) -> _Html:
    return _Html(f'<a href="{escape(url)}">{escape(url)}</a>' if url else "")


def _table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: Iterable[int] = (),
    sums: Iterable[int] = (),
) -> str:
    """Return a table; columns of `numbers` to the right, rows of `sums` in bold."""
    right, bold = set(numbers), set(sums)
    number, total = ' class="n"', ' class="sum"'

    def line(cells: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{number if i in right else ''}>"
            f"{cell if isinstance(cell, _Html) else escape(str(cell))}</{tag}>"
            for i, cell in enumerate(cells)
        )

    body = "".join(
        f"<tr{total if i in bold else ''}>{line(cells, 'td')}</tr>" for i, cells in enumerate(rows)
    )
    return f'<div class="scroll"><table><tr>{line(header, "th")}</tr>{body}</table></div>'
