"""Trainings whose patch or batch a dataset's plan decides."""

from collections.abc import Mapping, Sequence
from typing import Any

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import GRID
from tsfm_pipeline.experiments.settings import ExperimentSettings, Planned
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.planning.dataset_plan import DatasetPlan
from tsfm_pipeline.planning.fingerprint import PlanningError


def with_plan(
    training: TrainingSettings,
    planned: Sequence[Planned],
    datasets: Sequence[str],
    plans: Mapping[str, DatasetPlan],
) -> TrainingSettings:
    """Put the numbers of a dataset's plan into a training's settings.

    nnU-Net's U-Net takes them as planned; the other networks adapted to TSFM. A planned patch
    brings the plan's dummy_2d with it, unless the settings name an axis.

    Args:
        training: settings of the training.
        planned: which of them the plan decides.
        datasets: the one that it trains on, where anything is planned.
        plans: of all datasets.
    """
    if not planned:
        return training
    plan = plans[datasets[0]]
    numbers: dict[str, Any] = {"patch": plan.tsfm.patch, "batch_size": plan.tsfm.batch_size}
    if training.network == "nnunet":
        stage = plan.stored.fullres
        patch = [0, 0, 0]
        for axis, side in zip(plan.stored.axes, stage.topology.patch, strict=True):
            patch[axis] = side
        numbers = {
            "patch": (patch[0], patch[1], patch[2]),
            "batch_size": stage.batch_size,
        }
    chosen: dict[str, Any] = {name: numbers[name] for name in planned}
    augmentation = training.augmentation
    if "patch" in planned and plan.stored.fullres.dummy_2d and augmentation.dummy_2d_axis is None:
        across = {"dummy_2d_axis": plan.stored.axes[0]}  # the coarsest axis
        chosen["augmentation"] = augmentation.model_copy(update=across)
    return training.model_copy(update=chosen)


def refuse_plans_of_many(settings: ExperimentSettings, pool: Sequence[str]) -> None:
    """Check that what is planned is trained on one dataset.

    Args:
        settings: values of the experiments.
        pool: datasets of the pool.

    Raises:
        PlanningError: an experiment on several datasets has something planned.
    """
    for experiment in GRID:
        names, datasets = settings.planned_of(experiment), _datasets(experiment, pool)
        if names and len(datasets) != 1:
            raise PlanningError(
                f"experiments.{experiment.role}.training.{names[0]}: `planned` is the plan of one"
                f" dataset, but {experiment.name} trains on {len(datasets)}; give numbers"
            )


def _datasets(experiment: Experiment, pool: Sequence[str]) -> Sequence[str]:
    return experiment.datasets or pool
