"""Pipes, devices and links in circles among scans: skipped with a line, never waited for."""

import os
import signal
import subprocess
import sys
import time

import pytest
import SimpleITK as sitk

from tests.scans.conftest import body
from tsfm_pipeline.imaging.volume import VolumeError, read_geometry, read_image
from tsfm_pipeline.preparation.identity import volume_digest
from tsfm_pipeline.scans.problem import ScanError
from tsfm_pipeline.scans.reader_process import ReaderProcess
from tsfm_pipeline.scans.run import predict_folder
from tsfm_pipeline.scans.settings import PredictSettings

HANG = "__import__('time').sleep(600)"


@pytest.mark.timeout(120)
def test_special_files_and_loops_are_skipped_with_a_line(tmp_path, model):
    source = tmp_path / "in"
    source.mkdir()
    sitk.WriteImage(body(), str(source / "whole.nii.gz"))
    os.mkfifo(source / "pipe.nii.gz")
    os.mkfifo(source / "pipe.dcm")
    (source / "zero.nii").symlink_to("/dev/zero")
    (source / "loop.nii.gz").symlink_to("loop.nii.gz")
    (source / "folder").symlink_to("folder")
    summary = predict_folder(source, tmp_path / "out", model, PredictSettings(preview=False))
    assert summary.segmented == ("whole",)
    problems = summary.problems.set_index("file")
    assert set(problems["verdict"]) == {"skipped"}
    assert "a pipe" in problems.loc[str(source / "pipe.nii.gz"), "reason"]
    assert "a pipe" in problems.loc[str(source / "pipe.dcm"), "reason"]
    assert "a device" in problems.loc[str(source / "zero.nii"), "reason"]
    assert "circle" in problems.loc[str(source / "loop.nii.gz"), "reason"]
    assert "circle" in problems.loc[str(source / "folder"), "reason"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["x.nii.gz", "x.nrrd", "x.mha"])
def test_both_ways_in_refuse_a_pipe(name, tmp_path):
    os.mkfifo(tmp_path / name)
    for read in (read_geometry, volume_digest, lambda path: read_image([path])):
        with pytest.raises(VolumeError, match="a pipe"):
            read(tmp_path / name)


@pytest.mark.timeout(120)
def test_a_scan_that_takes_too_long_is_a_problem_and_the_next_one_is_read():
    tasks = {"hangs": (HANG,), "two": ("2 + 2",)}
    with ReaderProcess() as reader:
        outcomes = dict(reader.map(eval, tasks, seconds=15.0))
    assert outcomes["two"] == 4
    assert isinstance(outcomes["hangs"], ScanError)
    assert "not read within 15 s" in str(outcomes["hangs"])


@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_reader_ends_with_its_parent(tmp_path):
    noted = tmp_path / "pid"
    code = (
        "from tsfm_pipeline.scans.reader_process import ReaderProcess\n"
        "with ReaderProcess() as reader:\n"
        f"    text = \"open({str(noted)!r}, 'w').write(str(__import__('os').getpid()))"
        " and __import__('time').sleep(600)\"\n"
        "    list(reader.map(eval, {'x': (text,)}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        until = time.monotonic() + 30
        while not (noted.exists() and noted.read_text()) and time.monotonic() < until:
            time.sleep(0.1)
        pid = int(noted.read_text())
        parent.send_signal(signal.SIGTERM)
        parent.wait()
    try:
        for _ in range(50):
            os.kill(pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        return
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the reader outlived its parent")


def test_the_reader_computes_with_one_thread():
    with ReaderProcess() as reader:
        ((_, threads),) = reader.map(eval, {"": ("__import__('os').environ['OMP_NUM_THREADS']",)})
    assert threads == "1"
