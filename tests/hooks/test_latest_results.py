"""`latest` leads to what the newest run wrote, and Kedro does not take it for a version."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset

from tsfm_pipeline.hooks import LatestResultsHook
from tsfm_pipeline.hooks.latest_results import link_latest

PIPELINE = Pipeline(
    [Node(lambda: None, None, name, name=name) for name in ("report", "other", "unwritten")]
)


def run_at(folder, time, text) -> DataCatalog:
    """Let the hook see a run that wrote a report and something that is not versioned."""
    versioned = {
        name: TextDataset(filepath=str(folder / f"{name}.html"), version=Version(None, time))
        for name in ("report", "unwritten")
    }
    catalog = DataCatalog({**versioned, "other": MemoryDataset("x")})
    catalog.save("report", text)
    LatestResultsHook().after_pipeline_run({"project_path": str(folder)}, PIPELINE, catalog)
    return catalog


def test_latest_leads_to_the_newest_report(tmp_path, caplog) -> None:
    folder = tmp_path / "phantom"
    with caplog.at_level(logging.INFO):
        run_at(folder, "2026-01-01T00.00.00.000Z", "old")
        catalog = run_at(folder, "2026-01-02T00.00.00.000Z", "new")
    assert (folder / "latest/report.html").read_text() == "new"
    assert [path.name for path in (folder / "latest").iterdir()] == ["report.html"]
    told = [record.message for record in caplog.records if record.name.startswith("tsfm_")]
    assert told == ["Report: latest/report.html"] * 2
    assert catalog.load("report") == "new"  # `latest` is no version
    moved = shutil.move(folder, tmp_path / "moved")
    assert (tmp_path / "moved/latest/report.html").read_text() == "new", moved


def test_latest_has_all_files_of_an_entry(tmp_path) -> None:
    for time, text in (("2026-01-01T00.00.00.000Z", "old"), ("2026-01-02T00.00.00.000Z", "new")):
        folder = tmp_path / "report.html" / time
        folder.mkdir(parents=True)
        (folder / "report.svg").write_text(text)
        run_at(tmp_path, time, text)
    links = {path.name: path.read_text() for path in (tmp_path / "latest").iterdir()}
    assert links == {"report.html": "new", "report.svg": "new"}


def test_runs_that_end_at_once_all_get_their_link(tmp_path) -> None:
    files = []
    for run in ("one", "two"):
        files.append(tmp_path / "report.html" / run / "report.html")
        files[-1].parent.mkdir(parents=True)
        files[-1].write_text(run)
    with ThreadPoolExecutor(2) as pool:
        links = list(pool.map(link_latest, files * 200))
    assert links[0].read_text() in ("one", "two")
    assert [path.name for path in (tmp_path / "latest").iterdir()] == ["report.html"]
