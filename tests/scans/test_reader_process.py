import time
from pathlib import Path

import pytest

from tsfm_pipeline.scans.problem import NoRoom, ScanError
from tsfm_pipeline.scans.reader_process import ReaderProcess


def test_a_reader_that_dies_takes_no_other_scan_along():
    tasks = {
        "one": ("1 + 1",),
        "dies": ("__import__('os')._exit(3)",),
        "raises": ("1 / 0",),
        "two": ("2 + 2",),
    }
    with ReaderProcess() as reader:
        outcomes = dict(reader.map(eval, tasks))
    assert list(outcomes) == list(tasks)
    assert (outcomes["one"], outcomes["two"]) == (2, 4)
    assert isinstance(outcomes["dies"], ScanError)
    assert "crashed or was killed" in str(outcomes["dies"])
    assert isinstance(outcomes["raises"], ZeroDivisionError)


def test_it_reads_one_ahead_and_no_more(tmp_path):
    make = "open('{}', 'w').close()"
    tasks = {str(n): (make.format(tmp_path / str(n)),) for n in range(4)}
    with ReaderProcess() as reader:
        for number, _ in enumerate(reader.map(eval, tasks)):
            assert not (tmp_path / str(number + 2)).exists()


def read_beside(caller: Path, tried: Path, error: type[Exception]) -> str:
    crowded = caller.exists()
    with tried.open("a") as file:
        file.write("x")
    if crowded:
        raise error("no memory; take more")
    return "read"


@pytest.mark.parametrize("error", [NoRoom, MemoryError])
def test_what_finds_no_memory_beside_the_caller_is_read_again_after_it(error, tmp_path):
    caller, idle = tmp_path / "caller", tmp_path / "idle"
    caller.touch()
    tasks = {
        "alone": (caller, tmp_path / "alone", error),
        "beside": (caller, tmp_path / "beside", error),
    }
    with ReaderProcess() as reader:
        outcomes = reader.map(read_beside, tasks)
        name, outcome = next(outcomes)
        assert name == "alone" and isinstance(outcome, error)
        while not (tmp_path / "beside").exists():  # it is read while we work
            time.sleep(0.01)
        caller.rename(idle)
        assert next(outcomes) == ("beside", "read")
    assert [(tmp_path / name).read_text() for name in tasks] == ["x", "xx"]


def test_a_reader_loads_no_torch():
    task = "__import__('tsfm_pipeline.scans.loading') and 'torch' in __import__('sys').modules"
    with ReaderProcess() as reader:
        assert dict(reader.map(eval, {"": (task,)})) == {"": False}
