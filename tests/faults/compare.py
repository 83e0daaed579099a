"""What two workspaces have in common when nothing went wrong: all but clocks and paths."""

import re
import sqlite3
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pyarrow.parquet as pq

from tests.faults.workspace import Workspace

LEFT_OUT = ("01_raw/*", "*/screening/*", "*/state*.pt", "*.lock", "*/dice_over_time.*")
"""What is only read; caches; states of a finished training, which hold seconds; locks; and the
figure whose axis is hours."""
CLOCKS = ("seconds_per_iteration", "samples_per_second", "seconds", "date")
CLOCK_TEXTS = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d[.\d]*)?( UTC|\+00:00|Z)?"
    r'|"(seconds|seconds_per_iteration|samples_per_second)": [-+.\de]+'
    r'|"(summary.json|metrics.jsonl)": "\w+"'  # digests of the seconds in them
    r"|\b[0-9a-f]{32}\b"  # runs of MLflow
    r'|"inputs": "\w+"'  # a digest of times of change
    r"|<dd>[-+.\de]+ (hours|minutes|seconds)</dd>"
    r"|<svg.*?</svg>",  # of hours, too; the others are compared as files
    re.DOTALL,
)
WORKSPACE = re.compile(r"/[^\s'\"]*?/(?=data/)")
LEFTOVERS = (".writing.", ".unfinished", ".replaced")


def differences(reference: Workspace, found: Workspace) -> list[str]:
    """Name the artefacts in which a workspace differs from an undisturbed one.

    Of reports, which are kept by the time of their making, the newest of each kind counts.
    """
    wanted, there = dict(_artefacts(reference)), dict(_artefacts(found))
    texts = [f"{name} is missing" for name in sorted(wanted.keys() - there.keys())]
    texts += [f"{name} is not in an undisturbed run" for name in sorted(there.keys() - wanted)]
    for name in sorted(wanted.keys() & there.keys()):
        one, other = _content(wanted[name]), _content(there[name])
        if one != other:
            texts.append(f"{name} differs{_where(one, other)}")
    return texts + _tracked_differences(reference, found)


def _artefacts(workspace: Workspace) -> Iterator[tuple[str, Path]]:
    data = workspace.root / "data"
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if not path.is_file() or any(fnmatch(name, pattern) for pattern in LEFT_OUT):
            continue
        # Kedro's versions: report.md/2026-11-26T14.56.19.811Z/report.md; the last one stays
        yield re.sub(r"/\d{4}-\d\d-\d\dT[\d.]+Z/", "/", name), path


def _content(path: Path) -> object:
    """Return a file's content without times and without the path of a workspace."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        rows = table.drop_columns([name for name in CLOCKS if name in table.column_names])
        return WORKSPACE.sub("", str(rows.to_pylist()))
    if path.suffix not in (".html", ".md", ".json", ".jsonl", ".csv", ".txt"):
        return path.read_bytes()
    return CLOCK_TEXTS.sub("", WORKSPACE.sub("", path.read_text(errors="replace")))


def _where(one: object, other: object) -> str:
    """Quote two texts from a little before they part."""
    if not isinstance(one, str) or not isinstance(other, str):
        return ""
    part = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    begin = max(0, part - 40)
    return f": {one[begin : part + 40]!r} is {other[begin : part + 40]!r}"


def _tracked_differences(reference: Workspace, found: Workspace) -> list[str]:
    """Compare what MLflow has of the experiments; no run may be left open."""
    try:
        wanted, there = _tracked(reference.root / "mlflow.db"), _tracked(found.root / "mlflow.db")
    except sqlite3.Error as error:
        return [f"mlflow.db can't be read ({error})"]
    lost = sorted(wanted.keys() - there.keys())
    texts = [f"mlflow.db: {name} is not in it" for name in lost]
    texts += [
        f"mlflow.db: {name} differs"
        for name in sorted(wanted.keys() & there.keys())
        if wanted[name] != there[name]
    ]
    with sqlite3.connect(found.root / "mlflow.db") as database:
        left_open = database.execute(
            "SELECT count(*) FROM runs WHERE status = 'RUNNING'"
        ).fetchone()[0]
    return texts + ([f"mlflow.db: {left_open} run(s) left open"] if left_open else [])


def _tracked(database: Path) -> dict[str, dict[str, float]]:
    """Return the last metrics of every experiment's finished run."""
    with sqlite3.connect(database) as opened:
        rows = opened.execute(
            "SELECT r.name, m.key, m.value FROM runs r JOIN latest_metrics m USING (run_uuid)"
            " WHERE r.name LIKE '%.%' AND r.status = 'FINISHED'"
        ).fetchall()
    found: dict[str, dict[str, float]] = {}
    for name, key, value in rows:
        if not key.endswith(CLOCKS) and not key.startswith("system/"):
            found.setdefault(name, {})[key] = value
    return found


def leftovers(workspace: Workspace) -> list[str]:
    """Name unfinished files and folders that are still there."""
    data = workspace.root / "data"
    return [
        f"{path.relative_to(data)} was left behind"
        for path in sorted(data.rglob(".*"))
        if any(mark in path.name for mark in LEFTOVERS)
    ]
