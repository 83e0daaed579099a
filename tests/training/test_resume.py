"""Killed, stopped, extended: the weights are those of an undisturbed training."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import TABLE, with_settings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.loop import train
from tsfm_pipeline.training.progress import Progress
from tsfm_pipeline.training.task import TrainingError, TrainingTask

MakeTask = Callable[..., TrainingTask]
MakeSettings = Callable[..., TrainingSettings]


def _ignore(epoch: int, metrics: Mapping[str, float]) -> None:
    pass


def _weights(folder: Path, name: str = "final") -> bytes:
    return (folder / f"{name}.safetensors").read_bytes()


def _curves(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds_per_iteration"], line["samples_per_second"]
    return lines


class _Killed(BaseException):
    """Stands for kill -9: nothing in the package may catch it."""


class _Deadly(CaseStore):
    """A store that kills its reader at the n-th patch."""

    left = 0

    def read_patch(self, key: str, *args: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _Killed
        return super().read_patch(key, *args)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[TrainingTask, TrainingSettings], Path]:
    folders: dict[tuple[TrainingSettings, int], Path] = {}

    def run(task: TrainingTask, settings: TrainingSettings) -> Path:
        key = (settings, len(task.validation))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("undisturbed")
            train(with_settings(task, settings), folders[key], _ignore)
        return folders[key]

    return run


# an epoch reads 3 x 2 training and 2 x 2 validation patches
@pytest.mark.parametrize(
    ("reads", "minutes"), [(3, 0), (5, 0), (8, 0), (11, 0), (14, 0), (19, 0), (1, 0), (19, 1000)]
)
def test_killed_and_resumed_training_gives_identical_weights(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    store: CaseStore,
    undisturbed: Callable[[TrainingTask, TrainingSettings], Path],
    reads: int,
    minutes: float,
) -> None:
    expected = undisturbed(make_task(), make_settings())
    deadly = _Deadly(store.root)
    deadly.left = reads
    settings = make_settings(checkpoint_minutes=minutes)
    with pytest.raises(_Killed):
        train(make_task(cases=deadly, settings=settings), folder, _ignore)
    saved = (folder / "state.pt").exists()
    assert saved == (minutes == 0 and reads > 2)
    train(make_task(settings=make_settings()), folder, _ignore)
    for name in ("final", "best"):
        assert _weights(folder, name) == _weights(expected, name)
    assert _curves(folder) == _curves(expected)


def test_workers_do_not_change_the_weights(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    undisturbed: Callable[[TrainingTask, TrainingSettings], Path],
) -> None:
    train(make_task(settings=make_settings(workers=2)), folder, _ignore)
    expected = undisturbed(make_task(), make_settings())
    assert _weights(folder) == _weights(expected)
    assert _curves(folder) == _curves(expected)


def test_a_finished_training_returns_at_once_and_more_epochs_extend_it(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, store: CaseStore
) -> None:
    first = train(make_task(settings=make_settings()), folder, _ignore)
    deadly = _Deadly(store.root)  # any patch would kill
    reported: list[int] = []
    again = train(
        make_task(cases=deadly, settings=make_settings()), folder, lambda e, _: reported.append(e)
    )
    assert (again, reported) == (first, [])
    longer = train(
        make_task(settings=make_settings(epochs=3)), folder, lambda e, _: reported.append(e)
    )
    assert (longer.epochs, reported) == (3, [2])
    assert [line["epoch"] for line in _curves(folder)] == [0, 1, 2]
    with pytest.raises(TrainingError, match="already trained for 3 epochs"):
        train(make_task(settings=make_settings(epochs=1)), folder, _ignore)


def test_lost_final_weights_are_made_again_from_the_state(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, caplog
) -> None:
    task, model = make_task(settings=make_settings()), ModelFolder(folder)
    first = train(task, folder, _ignore)
    expected, sealed = _weights(folder, "final"), model.seals.read_bytes()
    model.weights("final").unlink()
    assert train(task, folder, _ignore) == first
    assert "final.safetensors is gone; it is made again" in caplog.text
    assert (_weights(folder, "final"), model.seals.read_bytes()) == (expected, sealed)

    model.seals.unlink()
    train(task, folder, _ignore)
    assert "digests.json is not there; made anew" in caplog.text
    assert model.seals.read_bytes() == sealed


@pytest.mark.parametrize("lost", [("best",), ("best", "final"), ("final", "state")])
def test_a_finished_training_whose_weights_are_gone_is_refused(
    lost: tuple[str, ...],
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
) -> None:
    task = make_task(settings=make_settings())
    train(task, folder, _ignore)
    for path in (path for name in lost for path in folder.glob(f"{name}*")):
        path.unlink()
    with pytest.raises(TrainingError, match=rf"{lost[0]}\.safetensors is gone; .* train again"):
        train(task, folder, _ignore)


@pytest.mark.parametrize("content", [None, "{}\n"])
def test_a_damaged_curve_of_a_finished_training_is_told(
    content: str | None, make_task: MakeTask, make_settings: MakeSettings, folder: Path, caplog
) -> None:
    task, model = make_task(settings=make_settings()), ModelFolder(folder)
    first = train(task, folder, _ignore)
    assert not caplog.text.count("metrics.jsonl")
    model.metrics.unlink()
    if content is not None:
        model.metrics.write_text(content)
    assert train(task, folder, _ignore) == first
    assert "metrics.jsonl is gone or not what was written" in caplog.text


def test_another_training_in_the_same_folder_is_refused(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    with pytest.raises(TrainingError, match=r"learning_rate \(0.01 there, 0.5 asked for\)"):
        train(make_task(settings=make_settings(epochs=2, learning_rate=0.5)), folder, _ignore)
    with pytest.raises(TrainingError, match="differs in training, the contents of its cases"):
        task = make_task(training=["organs/1", "tumours/0"])
        train(with_settings(task, make_settings(epochs=2)), folder, _ignore)


def test_a_target_more_elsewhere_is_the_same_training(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(epochs=1)
    first = train(make_task(settings=settings), folder, _ignore)
    larger = LabelTable(targets={**TABLE.targets, "nodule": 43}, regions=TABLE.regions)
    assert train(make_task(table=larger, settings=settings), folder, _ignore) == first
    other = LabelTable(targets=TABLE.targets)  # the liver without its tumour
    parts = {"spleen": ("kidney_left", "kidney_right")}  # what a channel is taught decides, too
    composed = TABLE.model_copy(update={"compositions": parts})
    for table in (other, composed):
        with pytest.raises(TrainingError, match="differs in table"):
            train(make_task(table=table, settings=settings), folder, _ignore)


def test_other_test_cases_change_no_training(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(epochs=1)
    first = train(make_task(settings=settings), folder, _ignore)
    card = json.loads((folder / "model.json").read_text())
    del card["test"]  # as in folders older than the field
    (folder / "model.json").write_text(json.dumps(card))
    (folder / "digests.json").unlink()
    old = ModelFolder(folder).card
    assert (old.test, old.scored) == ((), old.validation)
    assert train(make_task(settings=settings, test=["organs/9"]), folder, _ignore) == first


def test_a_changed_pool_is_named_with_both_versions(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    train(
        make_task(pool_version="1a2b", settings=make_settings(epochs=1)),
        folder,
        _ignore,
    )
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | {"pool_digest": "of other images"}))
    (folder / "digests.json").unlink()
    with pytest.raises(TrainingError, match=r"pool version 1a2b there, 3c4d now"):
        train(
            make_task(pool_version="3c4d", settings=make_settings(epochs=2)),
            folder,
            _ignore,
        )


@pytest.mark.parametrize("card", [None, "", "{"])
def test_a_state_without_a_readable_card_is_refused(
    card: str | None, make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    (folder / "model.json").unlink()
    if card is not None:
        (folder / "model.json").write_text(card)
    with pytest.raises(TrainingError, match=r"model\.json can't be read"):
        train(make_task(settings=make_settings(epochs=2)), folder, _ignore)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit])
def test_a_damaged_state_gives_way_to_the_one_before(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    undisturbed: Callable[[TrainingTask, TrainingSettings], Path],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    train(make_task(settings=make_settings(checkpoint_minutes=0)), folder, _ignore)
    (folder / "summary.json").unlink()
    damage(folder / "state.pt")
    train(make_task(settings=make_settings()), folder, _ignore)
    assert "going on from state.previous.pt" in caplog.text
    assert _weights(folder) == _weights(undisturbed(make_task(), make_settings()))

    (folder / "summary.json").unlink()
    assert (folder / "state.damaged.pt").exists()
    for name in ("state.pt", "state.previous.pt"):
        damage(folder / name)
    with pytest.raises(TrainingError, match=r"state\.pt can't be read.*previous\.pt can't"):
        train(make_task(settings=make_settings()), folder, _ignore)


def test_state_holds_no_pickled_objects(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    state = torch.load(folder / "state.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (1, 0)


SCRIPT = """
    import os, signal, sys, torch
    from pathlib import Path
    sys.path.insert(0, sys.argv[4])
    from tests.training.conftest import TABLE, with_cases
    from tsfm_pipeline.store.case_store import CaseStore
    from tsfm_pipeline.training.loop import train
    from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
    from tsfm_pipeline.training.task import TrainingTask

    class Store(CaseStore):
        left = 9  # two samples read ahead of the fifth step

        def read_patch(self, *args):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), int(sys.argv[3]))
            return super().read_patch(*args)

    torch.set_num_threads(1)
    settings = TrainingSettings.model_validate_json(sys.argv[5])
    task = TrainingTask(
        name="test",
        settings=settings,
        store=Path(sys.argv[1]),
        training=("organs/0", "organs/1", "organs/2", "tumours/0", "mr/0"),
        validation=(),
        table=TABLE,
        regions=("spleen", "kidney_right", "kidney_left", "liver", "liver_tumor"),
    )
    task = with_cases(task, Store(task.store))
    train(task, Path(sys.argv[2]), lambda epoch, metrics: None)
"""


@pytest.mark.parametrize(
    ("number", "code", "step"),
    [(signal.SIGKILL, -9, 4), (signal.SIGTERM, 143, 5), (signal.SIGINT, -2, 5)],
)
def test_real_signals(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    store: CaseStore,
    undisturbed: Callable[[TrainingTask, TrainingSettings], Path],
    number: signal.Signals,
    code: int,
    step: int,
) -> None:
    settings = make_settings(iterations_per_epoch=6, epochs=1)
    # kill -9 leaves what was saved before; the others save the step they end with
    minutes = 0 if number == signal.SIGKILL else 1000
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(SCRIPT),
            str(store.root),
            str(folder),
            str(int(number)),
            str(Path(__file__).parent),
            settings.model_copy(update={"checkpoint_minutes": minutes}).model_dump_json(),
        ],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (code, 130 if number == signal.SIGINT else code), ended.stderr
    saved = torch.load(folder / "state.pt", weights_only=True)["step"]
    # states are written while training goes on: kill -9 can cost the one that is being written
    assert saved in ((step - 1, step) if number == signal.SIGKILL else (step,))
    task = make_task(validation=[])
    train(with_settings(task, settings), folder, _ignore)
    assert _weights(folder) == _weights(undisturbed(task, settings))


def test_a_curve_that_is_gone_before_more_epochs_is_told(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, caplog
) -> None:
    train(make_task(settings=make_settings()), folder, _ignore)
    ModelFolder(folder).metrics.unlink()
    train(make_task(settings=make_settings(epochs=3)), folder, _ignore)
    assert "metrics.jsonl has 0 of the 2 epochs that are trained" in caplog.text
    assert [line["epoch"] for line in ModelFolder(folder).epochs()] == [2]


def test_best_weights_of_an_extension_are_not_taken_for_those_of_before(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_better(progress: Progress, dice: float) -> bool:
        progress.dice = progress.dice_ema = progress.best_dice = dice
        progress.best_epoch = progress.epoch
        return True

    def end(epoch: int, metrics: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "score", always_better)
    train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    before = _weights(folder, "best")
    with pytest.raises(KeyboardInterrupt):
        train(make_task(settings=make_settings(epochs=3)), folder, end)
    assert _weights(folder, "best") != before
    with pytest.raises(TrainingError, match=r"best\.safetensors is not of the 1 epochs.*ask for 3"):
        train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    assert train(make_task(settings=make_settings(epochs=3)), folder, _ignore).epochs == 3


def test_a_signal_after_the_last_step_ends_the_run_with_the_training_finished(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    """The next experiment must not begin."""

    def ask(epoch: int, metrics: Mapping[str, float]) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    task = make_task(settings=make_settings(epochs=1))
    with pytest.raises(KeyboardInterrupt):
        train(task, folder, ask)
    assert train(task, folder, lambda epoch, _: pytest.fail("it was finished")).epochs == 1


@pytest.mark.parametrize("tail", ['{"epoch": 2, "tra', "null", "[1]", "\\x00\\x00"])
def test_a_damaged_line_of_the_curve_is_dropped(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    tail: str,
) -> None:
    """As a kill or a full disk leaves it; the training, and every later run, goes on."""
    train(make_task(settings=make_settings()), folder, _ignore)
    curve = _curves(folder)
    (folder / "summary.json").unlink()
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(tail)
    for _ in range(2):
        train(make_task(settings=make_settings()), folder, _ignore)
        assert _curves(folder) == curve
        (folder / "summary.json").unlink()
    assert f"{folder / 'metrics.jsonl'}: 1 damaged line(s) dropped" in caplog.text


@pytest.mark.parametrize(
    ("name", "size"), [("state.pt", 2_000_000), ("best.safetensors", 2_000_000)]
)
def test_a_full_disk_is_told_with_the_folder(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, name: str, size: int
) -> None:
    """A limit on the size of a file, which the system reports as it does a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    cases = {} if name == "best.safetensors" else {"validation": []}
    try:
        with pytest.raises(TrainingError, match=f"{name} can't be written: .* free in") as told:
            train(make_task(settings=make_settings(), **cases), folder, _ignore)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(told.value)


@pytest.mark.slow
def test_killed_ten_times(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    store: CaseStore,
    undisturbed: Callable[[TrainingTask, TrainingSettings], Path],
) -> None:
    """Kill -9 at random patches, until ten have struck; then the weights are the undisturbed."""
    settings = make_settings(iterations_per_epoch=10, epochs=8)
    rng, kills = random.Random(0), 0
    while kills < 10:
        script = textwrap.dedent(SCRIPT).replace("left = 9", f"left = {rng.randrange(5, 30)}")
        ended = subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                str(store.root),
                str(folder),
                str(int(signal.SIGKILL)),
                str(Path(__file__).parent),
                settings.model_copy(update={"checkpoint_minutes": 0}).model_dump_json(),
            ],
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == -9, ended.stderr
        kills += 1
    task = make_task(validation=[])
    train(with_settings(task, settings), folder, _ignore)
    assert _weights(folder) == _weights(undisturbed(task, settings))
