import logging

import pytest
from kedro.io import DataCatalog, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.text import TextDataset

from tsfm_pipeline.hooks import AnnounceReportHook


@pytest.fixture
def catalog(tmp_path):
    path = str(tmp_path / "report.html")
    catalog = DataCatalog({"report_page": TextDataset(filepath=path, version=Version(None, "now"))})
    catalog.save("report_page", "<p>")
    return catalog


def announced(catalog, output, caplog):
    pipeline = Pipeline([Node(lambda: "", None, output, name="write")])
    with caplog.at_level(logging.INFO):
        AnnounceReportHook().after_pipeline_run(pipeline, catalog)
    return caplog.messages


def test_the_file_that_was_written_is_named(catalog, caplog, tmp_path):
    written = tmp_path / "report.html" / "now" / "report.html"
    assert written.is_file()
    assert announced(catalog, "report_page", caplog) == [f"Report: {written}"]


def test_a_run_without_a_report_says_nothing(catalog, caplog):
    assert announced(catalog, "pool_page", caplog) == []
