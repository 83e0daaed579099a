"""What trainings cost, against numbers worked out by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tsfm_pipeline.commands.cost import table_of
from tsfm_pipeline.experiments import cost as costs_module
from tsfm_pipeline.experiments.cost import (
    PEAK_TFLOPS,
    REACHED,
    CostEstimator,
    hours_at_once,
    measured_seconds,
    model_folders,
    step_flops,
)
from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import PAPER_PATCH, SIZES
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.fingerprint import Fingerprint
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.sources.msd import MsdSource

PATCH = (16, 32, 32)
TRAINING = {
    "network": "nnunet",
    "size": "tiny",
    "patch": PATCH,
    "batch_size": 2,
    "iterations_per_epoch": 10,
    "epochs": 4,
}
BASELINE = EXPERIMENTS["baseline.nnunet.msd_liver"]
TFLOPS = 0.001


def settings(**training) -> ExperimentSettings:
    return ExperimentSettings.model_validate(
        {
            "pretrain": {"training": TRAINING},
            "baseline": {"training": TRAINING | training},
            "ablation": {"training": TRAINING},
            "study": {"training": TRAINING},
            "transfer": {"training": TRAINING, "epochs": {}},
            "methods": {entry.method: {} for entry in GRID}
            | {"sam_med3d": {}, "stunet": {"pretraining": "checkpoint"}},
        }
    )


def estimator(measured=None, plans=None, **training) -> CostEstimator:
    source = MsdSource(
        layout="msd", folder="Task03_Liver", labels={1: "liver", 2: "liver_tumor"}
    ).named("msd_liver")
    return CostEstimator(
        settings=settings(**training),
        sources={"msd_liver": source},
        pool=["msd_liver"],
        table=LabelTable(
            targets={"spleen": 1, "liver": 5, "liver_tumor": 25},
            regions={"liver": ("liver", "liver_tumor")},
        ),
        spacing=(1.0, 1.0, 1.0),
        plans=plans or {},
        measured=measured or {},
        tflops=TFLOPS,
    )


def forward_flops(outputs: int) -> int:
    """Return those of nnU-Net's U-Net of 8 channels on 16x32x32 voxels, by hand.

    Halvings end at 4 voxels: (2, 2, 2) twice, (1, 2, 2) once, whose coarsest grid is 4x4x4; all
    kernels are 3x3x3. The decoder's concatenation doubles its input; a transposed convolution
    has no overlap. A multiply-add counts two.
    """
    voxels = [16 * 32 * 32, 8 * 16 * 16, 4 * 8 * 8, 4 * 4 * 4]
    width = [8, 16, 32, 64]
    into = [1, *width]
    total = sum(27 * v * (i * w + w * w) for v, i, w in zip(voxels, into, width, strict=False))
    for level in (0, 1, 2):
        v, w = voxels[level], width[level]
        total += v * width[level + 1] * w + 27 * v * (2 * w * w + w * w)
    return 2 * (total + voxels[0] * width[0] * outputs)


@pytest.fixture
def operations_decide(monkeypatch) -> None:
    """Let maps cost no time."""
    monkeypatch.setattr(costs_module, "FORWARD_FLOPS_PER_KEPT_VALUE", 0)


@pytest.mark.usefixtures("operations_decide")
def test_time_follows_from_operations() -> None:
    cost = estimator().cost_of(BASELINE)
    seconds = 3 * forward_flops(2) * 2 / (TFLOPS * 1e12)
    assert not cost.measured
    assert cost.iterations == 40
    assert cost.seconds == pytest.approx(seconds)
    assert cost.hours == pytest.approx(40 * seconds / 3600)


def test_what_is_computed_again_costs_a_forward_pass() -> None:
    plain = estimator().cost_of(BASELINE)
    for again in ({"activation_checkpointing": True}, {"micro_batches": 2}):
        cost = estimator(**again).cost_of(BASELINE)
        assert cost.seconds == pytest.approx(plain.seconds * 4 / 3)
        assert cost.memory_gib < plain.memory_gib


H200 = json.loads(
    (Path(__file__).parents[2] / "benchmarks/gpu/results/nvidia_h200.json").read_text()
)


@pytest.mark.parametrize(
    ("figure", "checkpointing"),
    [
        ("huge, ours", True),
        ("huge, ours without checkpointing", False),
        ("huge6, ours", True),
        ("huge6, ours without checkpointing", False),
        ("base, ours", False),
    ],
)
def test_the_estimate_is_near_what_a_gpu_took(figure: str, checkpointing: bool) -> None:
    taken = H200[figure]
    network = footprint(SIZES[taken["size"]], 1, 30, PAPER_PATCH)
    training = TrainingSettings(
        size=taken["size"], batch_size=taken["batch"], activation_checkpointing=checkpointing
    )
    seconds = step_flops(network, training) / (REACHED * PEAK_TFLOPS * 1e12)
    assert seconds == pytest.approx(taken["s per iteration"], rel=0.15)


def test_two_devices_halve_the_time_and_keep_the_hours() -> None:
    one, two = estimator(), estimator(parallel={"processes": 2})
    assert two.cost_of(BASELINE).seconds == pytest.approx(one.cost_of(BASELINE).seconds / 2)
    assert two.cost_of(BASELINE).hours == pytest.approx(one.cost_of(BASELINE).hours)


def test_disk_and_memory_grow_with_the_optimisers_moments() -> None:
    sgd = estimator().cost_of(BASELINE)
    adamw = estimator(optimizer="adamw").cost_of(BASELINE)
    # best and final; twice weight and momentum; float32
    assert sgd.disk_gb == pytest.approx((2 + 2 * 2) * 4 * sgd.parameters / 1e9)
    assert adamw.disk_gb == pytest.approx((2 + 2 * 3) * 4 * sgd.parameters / 1e9)
    more = (adamw.memory_gib - sgd.memory_gib) * 2**30
    assert more == pytest.approx(4 * sgd.parameters)


@pytest.mark.usefixtures("operations_decide")
def test_outputs_are_what_the_datasets_annotate() -> None:
    pool = estimator().cost_of(EXPERIMENTS["pretrain.nnunet"])
    assert pool.seconds == pytest.approx(3 * forward_flops(2) * 2 / (TFLOPS * 1e12))
    # nothing but the tumour: `liver` is decided by a target that is not annotated
    tumour = estimator()
    source = MsdSource(layout="msd", folder="T", labels={1: None, 2: "liver_tumor"})
    tumour.sources["msd_liver"] = source.named("msd_liver")
    cost = tumour.cost_of(BASELINE)
    assert cost.seconds == pytest.approx(3 * forward_flops(1) * 2 / (TFLOPS * 1e12))


def make_folder(root: Path, seconds: list[float], **changes) -> None:
    folder = ModelFolder(root / "baseline.nnunet.msd_liver" / str(len(list(root.glob("*/*")))))
    folder.path.mkdir(parents=True)
    card = ModelCard(
        name=BASELINE.name,
        settings=TrainingSettings.model_validate(TRAINING | changes),
        training=("msd_liver/a",),
        validation=(),
        table=LabelTable(targets={"liver": 5}),
        regions=("liver",),
        network=SIZES["tiny"],
        in_channels=1,
        patch=PATCH,
        ct_statistics=None,
        initial_weights=None,
        pool_digest="",
    )
    folder.write_card(card)
    lines = [
        json.dumps({"epoch": epoch, "seconds_per_iteration": taken}) + "\n"
        for epoch, taken in enumerate(seconds)
    ]
    folder.metrics.write_text("".join(lines))


def test_what_was_measured_of_a_training_like_it_is_preferred(tmp_path: Path) -> None:
    make_folder(tmp_path, [9.0, 2.0])
    make_folder(tmp_path, [2.5], epochs=500, learning_rate=0.1)  # neither decides the time
    make_folder(tmp_path, [77.0], patch=(32, 32, 32))
    make_folder(tmp_path, [77.0], batch_size=4)
    make_folder(tmp_path, [77.0], network="tsfm")
    make_folder(tmp_path, [])
    measured = measured_seconds(model_folders(tmp_path))
    cost = estimator(measured).cost_of(BASELINE)
    assert (cost.seconds, cost.measured) == (2.5, True)
    assert cost.hours == pytest.approx(40 * 2.5 / 3600)
    assert not estimator(measured, activation_checkpointing=True).cost_of(BASELINE).measured


def test_a_plan_that_is_not_made_yet_is_marked() -> None:
    without = estimator(patch="planned").cost_of(BASELINE)
    assert without.assumed
    assert "112x160x192*" in table_of([without], {}, TFLOPS)
    fingerprint = Fingerprint(
        dataset="msd_liver",
        modalities=("CT",),
        channels=1,
        classes=2,
        shapes=((64, 64, 64),),
        spacings=((1.0, 1.0, 1.0),),
        size_reduction=1.0,
    )
    plan = DatasetPlan.of(fingerprint, PlanningSettings(), (1.0, 1.0, 1.0))
    planned = estimator(plans={"msd_liver": plan}, patch="planned").cost_of(BASELINE)
    assert not planned.assumed
    assert planned.patch == (64, 64, 64)


def test_the_sum_and_what_is_not_trained() -> None:
    costs = estimator()
    assert costs.why_free(BASELINE) is None
    some = costs.cost_of(BASELINE)
    one = replace(some, hours=10.5, disk_gb=1.25)
    other = replace(some, experiment="other", hours=1000.25, disk_gb=0.5, measured=True)
    names = [
        "baseline.nnunet.btcv",
        "transfer.kits19.scratch.epoch10",
        "transfer.kits19.scratch.epoch20",
        "study.zero_shot.kits19",
    ]
    free = {name: costs.why_free(EXPERIMENTS[name]) for name in names}
    assert list(free.values()) == [
        "its datasets are not among this environment's",
        "budget epoch10 is left out in this environment",
        "budget epoch20 is left out in this environment",
        "takes weights as they are",
    ]
    *_, total, days, left = table_of([one, other], {"a": "x", "b": "x"}, 297).splitlines()
    assert total == (
        "2 trainings: 1,010.8 device-hours (42.1 days on one), 1.8 GB of models; seconds measured"
        " for 1, estimated for 1 at 297 TFLOP/s."
    )
    assert days == "Side by side (run-many), in days: 42.1 on 1, 41.7 on 8, 41.7 on 64 devices."
    assert left == "2 not trained: x"


def test_side_by_side_nothing_starts_before_what_it_starts_from() -> None:
    some = estimator().cost_of(BASELINE)

    def training(name: str, hours: float, starts_from: str = "", devices: int = 1):
        return replace(some, experiment=name, hours=hours, starts_from=starts_from, devices=devices)

    # the long one first, though it is named last: 3 + 3 h beside it, and then what waits for it
    costs = [
        training("c", 3), training("d", 3), training("b", 5, "a"), training("e", 2, "elsewhere"),
        training("a", 10),
    ]  # fmt: skip
    assert [hours_at_once(costs, number) for number in (1, 2, 64)] == [23, 15, 15]
    pair = [training("pair", 10, devices=2), training("one", 4)]
    assert [hours_at_once(pair, number) for number in (1, 2, 3)] == [14, 9, 5]
