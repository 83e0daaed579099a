"""Patches and batches that a dataset's plan decides."""

import pytest
from pydantic import ValidationError

from tests.experiments.test_training_run import METHODS, SETTINGS, run
from tsfm_pipeline.experiments import training_run
from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.experiments.planned import refuse_plans_of_many
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.fingerprint import Fingerprint, PlanningError
from tsfm_pipeline.planning.settings import PlanningSettings

PLANNED = {"size": "tiny", "patch": "planned", "batch_size": "planned", "learning_rate": 0.5}


def settings(**roles) -> ExperimentSettings:
    plain = {"training": {"size": "tiny"}}
    given = dict.fromkeys(("pretrain", "baseline", "ablation", "transfer", "study"), plain) | roles
    given["methods"] = METHODS
    given["transfer"] = given["transfer"] | {"epochs": {"epoch10": 3}}
    return ExperimentSettings.model_validate(given)


def plan_of(shape, spacing, stored=(1.5, 1.0, 1.0)) -> DatasetPlan:
    fingerprint = Fingerprint(
        dataset="kits19",
        modalities=("CT",),
        channels=1,
        classes=2,
        shapes=(shape,) * 100,
        spacings=(spacing,) * 100,
        size_reduction=1.0,
    )
    return DatasetPlan.of(fingerprint, PlanningSettings(), stored)


def test_a_training_takes_the_numbers_of_its_datasets_plan(tmp_path, monkeypatch):
    seen = []

    def train(task, folder, report):
        seen.append(task.settings)
        raise RuntimeError("only the settings are wanted")

    monkeypatch.setattr(training_run, "train", train)
    plan = plan_of((60, 70, 64), (1.5, 1.0, 1.0))
    plans = {"kits19": plan, "brats2020": plan_of((400, 400, 400), (1.5, 1.0, 1.0))}
    chosen = settings(transfer={"training": PLANNED})
    record = run("transfer.kits19.scratch.epoch10", tmp_path, None, chosen, plans)
    assert seen[0].patch == plan.tsfm.patch == (64, 80, 64)  # 72 lies half-way and goes up
    assert seen[0].batch_size == plan.tsfm.batch_size > 2
    assert (seen[0].learning_rate, seen[0].epochs) == (0.5, 3)
    unplanned = run("transfer.kits19.scratch.epoch10", tmp_path, None, SETTINGS, plans)
    assert seen[1].batch_size == 2
    assert record.digest != unplanned.digest


def test_thick_slices_of_a_planned_patch_are_augmented_within_them(tmp_path, monkeypatch):
    """nnU-Net's rule: where the longest side of its patch is over 3 times that across slices."""
    seen = []

    def train(task, folder, report):
        seen.append(task.settings)
        raise RuntimeError("only the settings are wanted")

    monkeypatch.setattr(training_run, "train", train)
    flat, cube = plan_of((10, 200, 200), (6.0, 1.0, 1.0), None), plan_of((60, 70, 64), (1.5, 1, 1))
    sagittal = plan_of((200, 200, 10), (1.0, 1.0, 6.0), None)
    assert (flat.stored.fullres.dummy_2d, cube.stored.fullres.dummy_2d) == (True, False)

    def axis(plan, **training):
        chosen = settings(transfer={"training": {"size": "tiny", **training}})
        run("transfer.kits19.scratch.epoch10", tmp_path, None, chosen, {"kits19": plan})
        return seen[-1].augmentation.dummy_2d_axis

    assert axis(cube, patch="planned") is None
    assert axis(flat, patch="planned") == 0
    assert axis(sagittal, patch="planned") == 2
    # what the settings say wins; a patch of one's own has slices only where one says so
    assert axis(flat, patch="planned", augmentation={"dummy_2d_axis": 1}) == 1
    assert axis(flat, batch_size="planned") is None
    assert axis(flat, patch=(16, 16, 32)) is None


def test_planned_settings_are_read_once_and_kept_apart():
    chosen = settings(transfer={"training": PLANNED}, ablation={"training": {"patch": "planned"}})
    assert chosen.planned_of(EXPERIMENTS["transfer.kits19.scratch.epoch10"]) == (
        "patch",
        "batch_size",
    )
    assert chosen.planned_of(EXPERIMENTS["ablation.amos22"]) == ("patch",)
    assert chosen.planned_of(EXPERIMENTS["pretrain.tsfm"]) == ()
    assert ExperimentSettings.model_validate(chosen.model_dump()) == chosen
    with pytest.raises(ValidationError, match="learning_rate"):
        settings(transfer={"training": {"learning_rate": "planned"}})
    with pytest.raises(ValidationError, match="patch"):
        settings(transfer={"training": {"patch": "planed"}})


def test_a_plan_is_of_one_dataset():
    chosen = settings(pretrain={"training": PLANNED})
    refuse_plans_of_many(chosen, ["hippocampus"])
    refuse_plans_of_many(settings(transfer={"training": PLANNED}), ["msd_liver", "btcv"])
    with pytest.raises(PlanningError, match=r"pretrain.training.patch.*trains on 2; give numbers"):
        refuse_plans_of_many(chosen, ["msd_liver", "btcv"])
