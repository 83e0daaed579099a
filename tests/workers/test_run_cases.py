"""One bad case fails alone, with its real cause, and big cases wait for room."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.workers import WorkerFailure, WorkerSettings, run_cases
from tsfm_pipeline.workers.run import WorkersError

TWO = WorkerSettings(jobs=2, memory_gb=1.0)


@pytest.fixture(params=["loky", "dask"])
def settings(request) -> WorkerSettings:
    """Both backends keep one contract."""
    if request.param == "dask":
        pytest.importorskip("distributed", reason="the dask extra is not installed")
    return TWO.model_copy(update={"backend": request.param})


def square(number):
    return number * number


def fail(number):
    raise ValueError(f"number {number} is odd") if number % 2 else KeyError(number)


def die(folder, times):
    """Kill the own process, but only as often as asked; else say who lives."""
    for attempt in range(times):
        mark = Path(folder) / f"attempt {attempt}"
        if not mark.exists():
            mark.touch()
            time.sleep(0.3)  # the neighbour is at work
            os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def task(name, *args):
    return {"square": square, "fail": fail, "die": die, "hold": hold}[name](*args)


def hold(folder, name, seconds):
    """Work for a while, and return which others were at work at the same time."""
    mark = Path(folder) / f"{name}.working"
    mark.touch()
    seen = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen |= {path.stem for path in Path(folder).glob("*.working")}
        time.sleep(0.01)
    mark.unlink()
    return seen - {name}


def test_results_come_by_key(settings) -> None:
    tasks = {f"case {n}": (n,) for n in range(20)}
    found = dict(run_cases(square, tasks, settings, "Squares"))
    assert found == {f"case {n}": n * n for n in range(20)}
    assert list(run_cases(square, {}, settings, "Nothing")) == []


def test_an_exception_is_told_with_its_traceback(settings) -> None:
    found = dict(run_cases(fail, {"a": (1,), "b": (2,)}, settings, "Failing"))
    assert found["a"].cause == "ValueError: number 1 is odd"
    assert found["b"].cause == "KeyError: 2"
    assert "in fail" in found["a"].traceback


def test_a_dying_worker_takes_nobody_along_and_is_tried_again(settings, tmp_path) -> None:
    for name in ("once", "always"):
        (tmp_path / name).mkdir()
    tasks = {
        "dies once": ("die", str(tmp_path / "once"), 1),
        "dies always": ("die", str(tmp_path / "always"), 9),
        "beside": ("hold", str(tmp_path), "beside", 1.5),
        **{f"other {n}": ("square", n) for n in range(6)},
    }
    needed = {"dies always": 2**28}
    found = dict(run_cases(task, tasks, settings, "Dying", needed))
    assert found["dies once"] == "alive"
    assert found["beside"] == set()
    assert [found[f"other {n}"] for n in range(6)] == [n * n for n in range(6)]
    failure = found["dies always"]
    assert isinstance(failure, WorkerFailure)
    assert "twice, the second time with nothing running beside it" in failure.cause
    assert "estimated 0.2 GiB" in failure.cause
    if settings.backend == "loky":
        assert "killed its worker (SIGKILL(-9), probably no memory)" in failure.cause
        assert failure.of_machine
    attempts = len(list((tmp_path / "always").iterdir()))
    assert attempts == 2


def test_a_crash_of_another_kind_is_not_put_down_to_memory() -> None:
    found = dict(run_cases(signal.raise_signal, {"crash": (signal.SIGSEGV,)}, TWO, "Crash"))
    assert found["crash"].cause.startswith("killed its worker (SIGSEGV(-11)), twice")
    assert "more memory" not in found["crash"].cause
    assert not found["crash"].of_machine


def test_a_task_without_memory_is_tried_again_alone(tmp_path) -> None:
    tasks = {"greedy": (2**50,), "modest": (8,)}
    found = dict(run_cases(np.zeros, tasks, TWO, "Memory"))
    assert found["greedy"].cause.startswith("ran out of memory (Unable to allocate 8.00 PiB")
    assert found["greedy"].of_machine
    assert found["modest"].shape == (8,)


def fill(number):
    if number:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/pool")
    return number


def test_a_full_disk_ends_everything_in_one_line(settings) -> None:
    tasks = {str(n): (n,) for n in range(3)}
    with pytest.raises(MachineError, match=r"^/pool: No space left on device; free some space"):
        list(run_cases(fill, tasks, settings, "Full"))


def test_big_tasks_wait_for_room(settings, tmp_path) -> None:
    """Of 1 GB, two of 0.6 never run together; small ones fill the room; 3 GB runs alone."""
    sizes = {"huge": 3.0, "a": 0.6, "b": 0.6, "c": 0.3, "d": 0.3}
    tasks = {name: (str(tmp_path), name, 0.5) for name in sizes}
    needed = {name: int(size * 1e9) for name, size in sizes.items()}
    found = dict(run_cases(hold, tasks, settings, "Big", needed))
    for name, beside in found.items():
        for other in beside:
            assert sizes[name] + sizes[other] <= 1.0, (name, other)
    assert any(found.values()), "nothing ran at once"


def threads():
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info()]


def test_workers_compute_with_one_thread(settings) -> None:
    pytest.importorskip("threadpoolctl")
    ((_, counts),) = run_cases(threads, {"a": ()}, settings, "Threads")
    assert counts
    assert set(counts) == {1}


def slow(folder, number):
    (Path(folder) / f"started {number}").touch()
    time.sleep(0.1 if number == 0 else 60)
    return number


def interrupted_run(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    for key, _ in run_cases(slow, {str(n): (folder, n) for n in range(4)}, TWO, "Slow"):
        (Path(folder) / f"kept {key}").touch()


def test_an_interrupt_stops_promptly_and_keeps_what_is_finished(tmp_path) -> None:
    program = (
        "import sys; from tests.workers.test_run_cases import interrupted_run;"
        "interrupted_run(sys.argv[1])"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "started 2").exists():
        assert time.monotonic() < deadline, run.stderr
        time.sleep(0.02)
    start = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all processes
    errors = run.communicate(timeout=50)[1]
    assert time.monotonic() - start < 30  # of 60 that a worker sleeps
    assert run.returncode != 0
    assert (tmp_path / "kept 0").exists()
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert not list(tmp_path.glob("started 3"))


def test_a_running_cluster_is_used_and_left_running() -> None:
    """Its workers state their memory: a task asks for a share, and never for more than is there."""
    distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, resources={"memory": 1e9}, dashboard_address=None
    ) as cluster:
        settings = WorkerSettings(backend="dask", scheduler=cluster.scheduler_address)
        tasks = {"small": (2,), "larger than a worker": (3,)}
        needed = {"larger than a worker": 10**10}
        found = dict(run_cases(square, tasks, settings, "Cluster", needed))
        assert found == {"small": 4, "larger than a worker": 9}
        with distributed.Client(cluster) as client:
            assert len(client.nthreads()) == 1


def test_a_scheduler_that_does_not_answer_is_told() -> None:
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    import dask

    settings = WorkerSettings(backend="dask", scheduler="tcp://127.0.0.1:1")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(
            WorkersError, match=r"workers\.scheduler: tcp://127\.0\.0\.1:1 does not answer"
        ),
    ):
        list(run_cases(square, {"two": (2,)}, settings, "Nobody"))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="-1 for one per CPU core"):
        WorkerSettings(jobs=0)
    with pytest.raises(ValidationError, match="needs `backend: dask`"):
        WorkerSettings(scheduler="tcp://node:8786")
