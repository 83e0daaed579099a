from tsfm_pipeline.scans.problem import ScanError
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
