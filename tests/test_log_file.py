"""A log file that can't be written is told in one line."""

import logging
from pathlib import Path

import pytest

from tsfm_pipeline.log_file import tell_once


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once_and_without_a_traceback(capsys) -> None:
    handler = logging.FileHandler("/dev/full", delay=True)
    tell_once(handler)
    for text in ("one", "two"):
        handler.handle(logging.makeLogRecord({"msg": text}))
    told = capsys.readouterr().err
    assert told.startswith("WARNING full can't be written: [Errno 28]")
    assert told.count("\n") == 1


def test_a_wrong_record_is_told_as_python_does(tmp_path, capsys) -> None:
    handler = logging.FileHandler(tmp_path / "x.log")
    tell_once(handler)
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "TypeError" in capsys.readouterr().err
