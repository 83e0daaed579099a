"""One training from setup to saved model."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.conftest import TABLE, with_settings, write_case
from tsfm_pipeline.imaging.intensity import ct_statistics
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training import checkpoint
from tsfm_pipeline.training.device import autocast_type
from tsfm_pipeline.training.loop import TrainingRun, train
from tsfm_pipeline.training.task import TrainingError, TrainingTask

MakeTask = Callable[..., TrainingTask]
MakeSettings = Callable[..., TrainingSettings]
GOLDEN = Path(__file__).with_name("golden_loss.json")


def _ignore(epoch: int, metrics: Mapping[str, float]) -> None:
    pass


def test_a_training_reports_and_leaves_a_model_folder(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, store: CaseStore
) -> None:
    reported: list[tuple[int, dict[str, float]]] = []
    task, settings = make_task(target_spacing=(1, 1, 1)), make_settings()
    summary = train(
        with_settings(task, settings), folder, lambda e, m: reported.append((e, dict(m)))
    )

    assert [epoch for epoch, _ in reported] == [0, 1]
    for epoch, metrics in reported:
        assert metrics["lr"] == pytest.approx(0.01 * (1 - epoch / 2) ** 0.9)
        assert metrics["seconds_per_iteration"] > 0
        assert np.isfinite(metrics["train/loss"])
        regions = [metrics[name] for name in metrics if name.startswith("val/dice/")]
        assert metrics["val/dice"] == pytest.approx(np.mean(regions))
    first, second = (metrics["val/dice"] for _, metrics in reported)
    assert reported[1][1]["val/dice_ema"] == pytest.approx(0.9 * first + 0.1 * second)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"epoch": epoch, **metrics} for epoch, metrics in reported]

    card = ModelFolder(folder).card
    assert (card.regions, card.in_channels, card.target_spacing) == (task.regions, 1, (1, 1, 1))
    ct_cases = [key for key in task.training if not key.startswith("mr/")]
    assert card.ct_statistics == ct_statistics(store.intensities(key) for key in ct_cases)
    assert (card.table, card.settings) == (TABLE, settings)
    network = TSFM(card.in_channels, len(card.regions), card.network, card.patch)
    for name in ("best", "final"):
        network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    assert summary == ModelFolder(folder).summary
    assert (summary.epochs, summary.dice) == (2, second)
    assert {path.name for path in folder.iterdir()} == {
        "model.json",
        "metrics.jsonl",
        "state.pt",
        "best.safetensors",
        "final.safetensors",
        "summary.json",
        "digests.json",
    }


def test_loss_falls_and_dice_rises_on_easy_cases(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    task = make_task(
        training=["tumours/0"], validation=["tumours/1"], regions=("liver", "liver_tumor")
    )
    settings = make_settings(
        epochs=2,
        iterations_per_epoch=20,
        momentum=0.9,
        augmentation=AugmentationSettings(transforms="none"),
    )
    reported: list[Mapping[str, float]] = []
    summary = train(
        with_settings(task, settings), folder, lambda _, metrics: reported.append(metrics)
    )
    assert reported[-1]["train/loss"] < reported[0]["train/loss"] - 0.5
    assert summary.best_dice is not None
    assert reported[-1]["val/dice"] > 0.5


def test_golden_loss_curve(make_task: MakeTask, make_settings: MakeSettings, folder: Path) -> None:
    """20 steps of size tiny: a change of network, loss, sampling or optimiser shows here.

    Regenerate golden_loss.json from the printed curve when the change was meant.
    """
    # at (16, 16, 32) two bottleneck voxels would amplify every rounding
    settings = make_settings(
        patch=(32, 32, 32), iterations_per_epoch=1, epochs=20, learning_rate=1e-3, momentum=0.9
    )
    losses: list[float] = []
    train(
        make_task(validation=[], settings=settings),
        folder,
        lambda _, m: losses.append(m["train/loss"]),
    )
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=1e-3), json.dumps(losses)


def test_without_validation_cases_the_best_weights_are_the_last(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    reported: list[Mapping[str, float]] = []
    summary = train(
        make_task(validation=[], settings=make_settings(epochs=1)),
        folder,
        lambda _, m: reported.append(m),
    )
    assert not any(name.startswith("val/") for name in reported[0])
    assert summary.dice is summary.best_dice is None
    best, final = (folder / f"{name}.safetensors" for name in ("best", "final"))
    assert best.read_bytes() == final.read_bytes()


def test_a_patch_larger_than_all_volumes(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(patch=(32, 32, 48), epochs=1, augmentation=AugmentationSettings())
    assert train(make_task(settings=settings), folder, _ignore).epochs == 1


@pytest.mark.parametrize("changes", [{"channels_last": True}, {"workers": 2}])
def test_variants_train(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, changes: dict[str, Any]
) -> None:
    summary = train(make_task(settings=make_settings(epochs=1, **changes)), folder, _ignore)
    plain = train(make_task(settings=make_settings(epochs=1)), folder.with_name("plain"), _ignore)
    assert summary.dice == pytest.approx(plain.dice, abs=0.05)


def test_several_channels(make_settings: MakeSettings, tmp_path: Path) -> None:
    store = CaseStore(tmp_path / "store")
    for case in "ab":
        write_case(store, f"brats/{case}", ("spleen",), modality="MR", channels=4)
    task = TrainingTask(
        name="brats",
        settings=make_settings(epochs=1),
        store=store.root,
        training=("brats/a",),
        validation=("brats/b",),
        table=TABLE,
        regions=("spleen",),
    )
    train(task, tmp_path / "model", _ignore)
    card = ModelFolder(tmp_path / "model").card
    assert (card.in_channels, card.ct_statistics) == (4, None)


def test_initial_weights_are_used_and_listed(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    train(make_task(settings=make_settings(epochs=1)), folder, _ignore)
    weights = folder / "best.safetensors"
    target = folder.with_name("transfer")
    settings = make_settings(epochs=1, iterations_per_epoch=1, learning_rate=1e-12)
    with caplog.at_level(logging.INFO):
        train(make_task(initial_weights=weights, settings=settings), target, _ignore)
    assert "0 adapted (none), 6 initialised (heads.0.weight" in caplog.text
    before, after = load_file(weights), load_file(target / "final.safetensors")
    for row in json.loads((target / "weights.json").read_text()):
        same = torch.allclose(before[row["name"]], after[row["name"]], atol=1e-6)
        assert same or row["action"] == "initialised"


class _Poisoned(CaseStore):
    """A store one of whose cases has become NaN."""

    def read_patch(self, key: str, *args: Any) -> Any:
        image, labels, inside = super().read_patch(key, *args)
        return (image * np.nan if key == "tumours/0" else image), labels, inside


def test_non_finite_losses_are_skipped_counted_and_finally_explained(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, store: CaseStore
) -> None:
    task = make_task(cases=_Poisoned(store.root), validation=[])
    summary = train(with_settings(task, make_settings(iterations_per_epoch=10)), folder, _ignore)
    assert 0 < summary.skipped_steps < 20
    weights = load_file(folder / "final.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())

    task = make_task(
        cases=task.cases, training=["tumours/0"], validation=[], regions=("liver", "liver_tumor")
    )
    with pytest.raises(TrainingError, match=r"3 steps in a row.*tumours/0"):
        train(with_settings(task, make_settings(bad_steps=3)), folder.with_name("bad"), _ignore)


def test_an_epoch_without_a_step_has_no_loss(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, store: CaseStore
) -> None:
    task = make_task(
        cases=_Poisoned(store.root),
        training=["tumours/0"],
        validation=[],
        regions=("liver", "liver_tumor"),
        settings=make_settings(epochs=1),
    )
    losses: list[float] = []
    summary = train(task, folder, lambda epoch, metrics: losses.append(metrics["train/loss"]))
    assert summary.skipped_steps == 3
    assert math.isnan(*losses)


def test_only_the_broken_gradients_are_named(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ModelCard.build_network

    def build_broken(card: ModelCard) -> TSFM:
        network = build(card)
        network.heads[0].weight.register_hook(lambda gradient: gradient * float("nan"))
        return network

    monkeypatch.setattr(ModelCard, "build_network", build_broken)
    with pytest.raises(TrainingError, match=r"gradients of 1 parameters, heads\.0\.weight first"):
        train(make_task(settings=make_settings(bad_steps=1)), folder, _ignore)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": []}, "no training case"),
        ({"training": ["organs/0"]}, r"annotates the region\(s\) \['liver_tumor'\]"),
        ({"validation": ["organs/0"]}, "training and validation"),
        ({"training": ["organs/9"]}, "organs/9 is not in the store"),
        ({"regions": ()}, "no training case annotates"),
        ({"training": ["mr/0"], "regions": ("spleen",)}, "organs/3 is CT"),
    ],
)
def test_impossible_tasks(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        train(make_task(**changes, settings=make_settings()), folder, _ignore)


def test_a_gpu_that_is_not_there(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="no GPU"):
        train(make_task(settings=make_settings(device="cuda")), folder, _ignore)
    for amp in ("bf16", "fp16"):
        with pytest.raises(TrainingError, match=f"{amp} needs a GPU"):
            train(make_task(settings=make_settings(amp=amp)), folder, _ignore)


def test_amp_format(monkeypatch: pytest.MonkeyPatch, make_settings: MakeSettings) -> None:
    gpu = torch.device("cuda")
    # as on a T4 (7.5), which holds bf16 but can't compute it, and an A100 (8.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    for major, chosen in ((8, torch.bfloat16), (7, torch.float16)):
        properties = SimpleNamespace(major=major)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, p=properties: p)
        assert autocast_type(make_settings(), gpu) is chosen
    assert autocast_type(make_settings(amp="off"), gpu) is None
    assert autocast_type(make_settings(), torch.device("cpu")) is None


def _losses(task: TrainingTask, settings: TrainingSettings, folder: Path) -> list[float]:
    losses: list[float] = []
    train(
        with_settings(task, settings),
        folder,
        lambda _, metrics: losses.append(metrics["train/loss"]),
    )
    return losses


STEADY: dict[str, Any] = {"patch": (32, 32, 32), "learning_rate": 1e-3, "momentum": 0.9}
"""Enough bottleneck voxels that rounding is not amplified."""


@pytest.mark.parametrize("changes", [{"micro_batches": 2}, {"activation_checkpointing": True}])
def test_what_saves_memory_does_not_change_the_training(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, changes: dict[str, Any]
) -> None:
    task = make_task()
    plain = _losses(task, make_settings(**STEADY), folder)
    losses = _losses(task, make_settings(**STEADY, **changes), folder.with_name("other"))
    assert losses == pytest.approx(plain, rel=1e-4)


def test_saving_on_a_cpu_takes_no_memory_beside_the_training(
    monkeypatch: pytest.MonkeyPatch, make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    runs: list[TrainingRun] = []
    saved: list[str] = []
    make, write_state = TrainingRun.__init__, checkpoint._write_state
    write_weights = checkpoint.save_weights

    def made(run: TrainingRun, *given: Any) -> None:
        make(run, *given)
        runs.append(run)

    def check(what: str, tensors: Mapping[str, torch.Tensor]) -> None:
        own = dict(runs[0].network.named_parameters())
        assert all(parameter.grad is None for parameter in own.values())
        if what == "momentum":
            state = runs[0].step.optimizer.state
            own = {name: state[parameter]["momentum_buffer"] for name, parameter in own.items()}
        assert own.keys() == tensors.keys()
        assert all(tensors[name].data_ptr() == own[name].data_ptr() for name in own)
        saved.append(what)

    def state_checked(where: ModelFolder, state: dict[str, Any]) -> None:
        check("network", state["network"])
        check("momentum", state["momentum"])
        write_state(where, state)

    def weights_checked(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
        check(path.name, weights)
        write_weights(path, weights)

    monkeypatch.setattr(TrainingRun, "__init__", made)
    monkeypatch.setattr(checkpoint, "_write_state", state_checked)
    monkeypatch.setattr(checkpoint, "save_weights", weights_checked)
    train(with_settings(make_task(), make_settings(epochs=1)), folder, _ignore)
    assert saved == ["best.safetensors", "network", "momentum", "final.safetensors"]


def test_augmentation_on_the_device_trains(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(epochs=1, augmentation=AugmentationSettings(where="device"))
    assert np.isfinite(_losses(make_task(), settings, folder)).all()
    again = settings.model_copy(update={"workers": 2})
    other = folder.with_name("other")
    train(make_task(settings=again), other, _ignore)
    assert (folder / "final.safetensors").read_bytes() == (other / "final.safetensors").read_bytes()


@pytest.mark.slow
def test_a_compiled_network_trains_alike(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    task, few = make_task(), {"epochs": 1, "validation_iterations": 1}
    plain = _losses(task, make_settings(**STEADY, **few), folder)
    compiled = make_settings(**STEADY, **few, compile=True)
    assert _losses(task, compiled, folder.with_name("other")) == pytest.approx(plain, rel=1e-3)


def test_activation_checkpointing_keeps_less(make_settings: MakeSettings) -> None:
    saved = {}
    for checkpointing in (False, True):
        network = TSFM(1, 2, SIZES["tiny"], (32, 32, 32))
        network.checkpointing = checkpointing
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(torch.zeros(1, 1, 32, 32, 32))
        saved[checkpointing] = sum(sizes)
    assert saved[True] < 0.5 * saved[False]


def test_heads_first_leaves_the_body_alone(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(epochs=3, heads_first_epochs=2, iterations_per_epoch=2)
    states: list[dict[str, torch.Tensor]] = []
    task = make_task()

    def keep(epoch: int, metrics: Mapping[str, float]) -> None:
        states.append(load_file(folder / "best.safetensors") if epoch == 0 else {})

    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        untouched = TSFM(1, 5, SIZES["tiny"], settings.patch)
    train(with_settings(task, settings), folder, keep)
    first = states[0]
    for name, weight in untouched.state_dict().items():
        assert torch.equal(first[name], weight) != name.startswith("heads.")
    final = load_file(folder / "final.safetensors")
    assert not torch.equal(final["encoder.0.0.conv1.weight"], first["encoder.0.0.conv1.weight"])


def test_softmax_trains_and_refuses_partial_labels(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(loss="softmax", epochs=2, iterations_per_epoch=15, momentum=0.9)
    task = make_task(
        training=["tumours/0"], validation=["tumours/1"], regions=("liver", "liver_tumor")
    )
    losses = _losses(task, settings, folder)
    assert losses[1] < losses[0]
    card = ModelFolder(folder).card
    assert card.build_network().heads[0].out_channels == 2  # liver and liver tumour
    with pytest.raises(TrainingError, match=r"every class, and organs/0 does not annotate"):
        train(make_task(settings=settings), folder.with_name("other"), _ignore)


def test_lasting_overflow_in_fp16_stops_the_training(
    make_task: MakeTask,
    make_settings: MakeSettings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    build = ModelCard.build_network

    def build_broken(card: ModelCard) -> TSFM:
        network = build(card)
        network.heads[0].weight.register_hook(lambda gradient: gradient * float("inf"))
        return network

    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    monkeypatch.setattr(ModelCard, "build_network", build_broken)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler)
    with pytest.raises(TrainingError, match="not finite in 2 steps in a row"):
        train(
            make_task(settings=make_settings(iterations_per_epoch=9, bad_steps=2)), folder, _ignore
        )
    assert scaler.get_scale() == 0.25  # halved to 4, 2 and 1 as usual, then twice more
    assert caplog.text.count("Step skipped") == 2


def test_too_large_for_the_gpu_names_what_helps(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(network: TSFM, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.28 GiB")

    monkeypatch.setattr(TSFM, "forward", forward)
    with pytest.raises(TrainingError, match=r"activation_checkpointing .*\(CUDA out of memory"):
        train(make_task(settings=make_settings()), folder, _ignore)


def test_patience_ends_a_training_that_does_not_improve(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path
) -> None:
    settings = make_settings(epochs=9, learning_rate=1e-12, patience=2, iterations_per_epoch=1)
    summary = train(make_task(settings=settings), folder, _ignore)
    assert summary.ended_early and summary.best_epoch is not None
    assert summary.epochs == summary.best_epoch + 3 < 9
    again: list[int] = []
    assert train(make_task(settings=settings), folder, lambda e, _: again.append(e)) == summary
    assert again == []
    longer = make_settings(epochs=9, learning_rate=1e-12, iterations_per_epoch=1)
    assert train(make_task(settings=longer), folder, _ignore).epochs == 9


def test_a_batch_larger_than_the_pool_is_told(
    make_task: MakeTask, make_settings: MakeSettings, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(training=["tumours/0"], regions=("liver", "liver_tumor"))
    train(with_settings(task, make_settings(epochs=1, iterations_per_epoch=1)), folder, _ignore)
    assert "a batch of 2 from 1 training case" in caplog.text
