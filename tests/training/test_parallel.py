"""Two processes train what one does with the same global batch."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import ParallelSettings, TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training import launch, loop
from tsfm_pipeline.training.group import Group
from tsfm_pipeline.training.task import TrainingError, TrainingTask

MakeTask = Callable[..., TrainingTask]
MakeSettings = Callable[..., TrainingSettings]

SHARDED = pytest.param("fsdp", marks=pytest.mark.slow)  # one test of it is among the quick ones

CHANGES: dict[str, Any] = {
    # enough bottleneck voxels: with two, instance norm amplifies every rounding
    "patch": (32, 32, 32),
    "momentum": 0.9,
    "learning_rate": 1e-3,
    # a constant rate: it does not depend on the number of epochs
    "poly_power": 1e-9,
}


def _ignore(epoch: int, metrics: Mapping[str, float]) -> None:
    pass


def _curve(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines]


def _settings(
    make_settings: MakeSettings, strategy: str, restarts: int = 0, **changes: Any
) -> TrainingSettings:
    given = {"processes": 2, "strategy": strategy, "restarts": restarts}
    parallel = ParallelSettings.model_validate(given)
    return make_settings(parallel=parallel, **(CHANGES | changes))


def test_the_processes_get_the_whole_task(
    make_task: MakeTask, make_settings: MakeSettings, tmp_path: Path
) -> None:
    given = make_task(
        settings=make_settings(seed=7),
        initial_weights=tmp_path / "best.safetensors",
        target_spacing=(1.5, 1.0, 1.0),
        pool_version="1a2b3c4d",
    )
    launch.write_task(given, ModelFolder(tmp_path))
    text = (tmp_path / "task.json").read_text()
    read = TrainingTask.model_validate_json(text)
    assert read == given.model_copy(update={"threads": read.threads})
    assert read.threads == torch.get_num_threads()
    assert set(json.loads(text)) == {
        *("name", "settings", "training", "validation", "table", "regions", "initial_weights"),
        *("target_spacing", "pool_version", "synthetic", "test", "store", "threads"),
    }


def test_a_task_knows_the_folders_wherever_a_process_starts(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    launch.write_task(make_task(store="s", initial_weights="w"), ModelFolder(Path("model")))
    read = TrainingTask.model_validate_json((tmp_path / "model" / "task.json").read_text())
    assert (read.store, read.initial_weights) == (tmp_path / "s", tmp_path / "w")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_agree_with_one_and_their_state_goes_on_in_one(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, strategy: str
) -> None:
    alone = folder.with_name("alone")
    loop.train(make_task(settings=make_settings(**CHANGES, epochs=3)), alone, _ignore)

    reported: list[int] = []
    two = _settings(make_settings, strategy, epochs=2, channels_last=True)
    summary = launch.train(make_task(settings=two), folder, lambda epoch, _: reported.append(epoch))
    assert reported == [0, 1]
    assert summary.epochs == 2
    assert _curve(folder) == pytest.approx(_curve(alone)[:2], rel=1e-4)

    one_more = make_settings(**CHANGES, epochs=3, channels_last=True)
    loop.train(make_task(settings=one_more), folder, _ignore)
    assert _curve(folder) == pytest.approx(_curve(alone), rel=1e-3)
    one, other = load_file(alone / "final.safetensors"), load_file(folder / "final.safetensors")
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("strategy", ["ddp", SHARDED])
def test_heads_first_in_two_processes_agrees_with_one(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, strategy: str
) -> None:
    # gradients that are dropped in the first epoch, and wanted again in the next ones
    alone, changes = folder.with_name("alone"), {"epochs": 3, "heads_first_epochs": 1}
    loop.train(make_task(settings=make_settings(**CHANGES, **changes)), alone, _ignore)
    launch.train(make_task(settings=_settings(make_settings, strategy, **changes)), folder, _ignore)
    assert _curve(folder) == pytest.approx(_curve(alone), rel=1e-3)


@pytest.mark.parametrize("strategy", ["ddp", SHARDED])
def test_a_state_of_one_process_goes_on_in_two(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, strategy: str
) -> None:
    alone = folder.with_name("alone")
    loop.train(make_task(settings=make_settings(**CHANGES, epochs=3)), alone, _ignore)
    loop.train(make_task(settings=make_settings(**CHANGES, epochs=2)), folder, _ignore)
    launch.train(make_task(settings=_settings(make_settings, strategy, epochs=3)), folder, _ignore)
    assert _curve(folder) == pytest.approx(_curve(alone), rel=1e-3)


@pytest.mark.parametrize("strategy", ["ddp", SHARDED])
def test_a_state_saved_after_validation_has_all_momentum(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, strategy: str
) -> None:
    # ends after a validation that was not the best one: saving its weights would hide the fault
    settings = _settings(
        make_settings,
        strategy,
        epochs=20,
        patience=1,
        iterations_per_epoch=1,
        learning_rate=1e-12,
    )
    assert launch.train(make_task(settings=settings), folder, _ignore).ended_early
    state = torch.load(folder / "state.pt", weights_only=True)
    assert state["momentum"].keys() == state["network"].keys()


@pytest.mark.slow
def test_a_process_that_dies_restarts_the_group_from_the_last_state(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    alone = folder.with_name("alone")
    loop.train(make_task(settings=make_settings(**CHANGES, epochs=6)), alone, _ignore)
    killed: list[int] = []

    def kill_one(epoch: int, metrics: Mapping[str, float]) -> None:
        if not killed:
            killed.append(epoch)
            os.kill(int(multiprocessing.active_children()[-1].pid or 0), signal.SIGKILL)

    settings = _settings(make_settings, "ddp", epochs=6, checkpoint_minutes=0, restarts=1)
    summary = launch.train(make_task(settings=settings), folder, kill_one)
    assert killed and summary.epochs == 6
    assert _curve(folder) == pytest.approx(_curve(alone), rel=1e-3)


class _OtherAhead(Group):
    """A group whose other process has read a state of one step."""

    def largest(self, value: int, device: torch.device) -> int:
        return max(value, 1)


def test_a_process_with_another_state_does_not_go_on(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    with pytest.raises(TrainingError, match=r"different states of .*model \(process 0: epoch 0"):
        loop.train(make_task(settings=make_settings()), folder, _ignore, _OtherAhead())


def test_a_damaged_curve_does_not_end_a_group(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 1, tra\xff\n')

    def in_this_process(config: object, function: object) -> Callable[[str], None]:
        return lambda name: (loop.train(task, Path(name), _ignore), None)[1]

    monkeypatch.setattr(launch, "elastic_launch", in_this_process)
    task = make_task(settings=make_settings(parallel=ParallelSettings(processes=2)))
    reported: list[int] = []
    launch.train(task, folder, lambda epoch, _: reported.append(epoch))
    assert reported == [1]


@pytest.mark.parametrize(
    ("number", "raised"),
    [
        pytest.param(signal.SIGINT, KeyboardInterrupt, marks=pytest.mark.slow),
        (signal.SIGTERM, SystemExit),
    ],
)
def test_a_group_that_is_asked_to_end_saves_and_the_run_ends(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    number: signal.Signals,
    raised: type[BaseException],
) -> None:
    """Not an Exception: the experiment has not failed, and the next must not begin."""

    def ask(epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch == 0:
            os.kill(os.getpid(), number)

    settings = _settings(make_settings, "ddp", epochs=200, checkpoint_minutes=1000)
    with pytest.raises(raised):
        launch.train(make_task(settings=settings), folder, ask)
    saved = torch.load(folder / "state.pt", weights_only=True)
    assert 0 < saved["epoch"] < 200


def test_the_error_of_a_process_reaches_the_user(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, store: CaseStore
) -> None:
    settings = _settings(make_settings, "ddp", restarts=0)
    with pytest.raises(TrainingError, match=r"process \d of 2 failed.*organs/9"):
        launch.train(make_task(training=["organs/9"], settings=settings), folder, _ignore)


def test_more_processes_than_gpus(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = _settings(make_settings, "ddp", device="cuda")
    with pytest.raises(TrainingError, match=r"processes is 2, but this machine has 1 GPU"):
        launch.train(make_task(settings=settings), folder, _ignore)


@pytest.mark.slow
def test_a_second_machine_joins_with_the_line_of_the_log(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two launchers on this machine stand for two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    parallel = ParallelSettings(machines=2, rendezvous=place, restarts=0)
    settings = make_settings(parallel=parallel, epochs=1, **CHANGES)
    line = launch.torchrun_line(parallel, folder).split()
    with subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *line[1:]]) as other:
        with caplog.at_level("INFO"):
            summary = launch.train(make_task(settings=settings), folder, _ignore)
        assert other.wait(60) == 0
    assert "run there: torchrun --nnodes 2" in caplog.text
    alone = folder.with_name("alone")
    loop.train(make_task(settings=make_settings(epochs=1, **CHANGES)), alone, _ignore)
    assert summary.epochs == 1 and _curve(folder) == pytest.approx(_curve(alone), rel=1e-4)
