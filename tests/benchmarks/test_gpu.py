"""The GPU dossier runs from end to end, without a GPU at tiny sizes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu"


@pytest.mark.slow
def test_dry_run(tmp_path: Path) -> None:
    copy = shutil.copytree(GPU, tmp_path / "gpu")
    for path in (copy / "results").glob("*.json"):
        path.unlink()
    subprocess.run([sys.executable, copy / "run.py", "--dry-run"], check=True)
    (results,) = (copy / "results").glob("*.json")
    figures = json.loads(results.read_text())
    rows = {name: row for name, row in figures.items() if isinstance(row, dict)}
    failed = {name: row for name, row in rows.items() if "error" in row or "skipped" in row}
    assert not failed
    assert figures["huge, ours"]["s per iteration"] > 0

    results.write_text(json.dumps(figures | {"huge6, ours": "kept", "parameters": "old"}))
    again = [sys.executable, copy / "run.py", "--dry-run", "--only", "parameters"]
    subprocess.run(again, check=True)
    figures_now = json.loads(results.read_text())
    assert figures_now == figures | {
        "huge6, ours": "kept",
        "parameters": figures_now["parameters"],
    }
    assert figures_now["parameters"] != "old"


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    copy = shutil.copytree(GPU, tmp_path / "gpu")
    for path in (copy / "results").iterdir():
        path.unlink()
    report = [sys.executable, str(copy / "report.py")]
    subprocess.run(report, check=True)
    page = copy / "results" / "README.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")][1:]
    assert rows and all(row.endswith("| not yet measured |") for row in rows)

    steps = {"huge, ours": 3.0, "huge, eager fp16, batch 1": 1.5}
    measured = {name: {"samples per s": rate} for name, rate in steps.items()}
    figures = {"device": "Made-up GPU", "date": "2026-01-01", **measured}
    (copy / "results" / "made_up.json").write_text(json.dumps(figures))
    subprocess.run(report, check=True)
    assert "eager fp16 | at least 1.5 | 2.0 |" in page.read_text()
