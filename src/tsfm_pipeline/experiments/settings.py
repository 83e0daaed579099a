"""Values of the experiments: the part of the grid that an environment sets."""

from typing import Any, Literal, get_args

from pydantic import model_validator

from tsfm_pipeline.experiments.grid import BUDGETS, Experiment, Role
from tsfm_pipeline.schema import Settings
from tsfm_pipeline.training.settings import TrainingSettings

Planned = Literal["patch", "batch_size"]
"""Settings of a training that the plan of its dataset can decide."""


class RoleSettings(Settings):
    """How the experiments of one role are trained.

    Attributes:
        training: network size, optimiser, patch, sampling, augmentation. Its `patch` and
            `batch_size` may be "planned": taken from the plan of the one dataset trained on.
        planned: which of them are; filled from `training`.
    """

    training: TrainingSettings
    planned: tuple[Planned, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _set_planned_apart(cls, given: Any) -> Any:
        # A training's own settings are numbers: whoever trains need not ask whether they are.
        if not isinstance(given, dict) or not isinstance(given.get("training"), dict):
            return given
        training = given["training"]
        names = [name for name in get_args(Planned) if training.get(name) == "planned"]
        kept = {name: value for name, value in training.items() if name not in names}
        return {**given, "training": kept, **({"planned": names} if names else {})}


class TransferSettings(RoleSettings):
    """How transfers are trained.

    Attributes:
        epochs: epochs of each of Table 2's budgets; null leaves the budget out ('not run').
    """

    epochs: dict[str, int | None]

    def model_post_init(self, context: object) -> None:
        """Refuse a budget that the grid does not have."""
        unknown = sorted(set(self.epochs) - set(BUDGETS))
        if unknown:
            raise ValueError(f"experiments.transfer.epochs: {unknown} not among {list(BUDGETS)}")
        for epochs in self.epochs.values():
            if epochs is not None:
                self.training.with_epochs(epochs)


class ExperimentSettings(Settings):
    """Values of every role of the grid.

    Attributes:
        pretrain: TSFM on the whole pool.
        ablation: TSFM pre-trained on one dataset (Table 3).
        transfer: fine-tuning and training from scratch on a downstream dataset (Table 2).
    """

    pretrain: RoleSettings
    ablation: RoleSettings
    transfer: TransferSettings

    def planned_of(self, experiment: Experiment) -> tuple[Planned, ...]:
        """Return which settings of an experiment its dataset's plan decides."""
        return self._role(experiment).planned

    def training_of(self, experiment: Experiment) -> TrainingSettings | None:
        """Return the training settings of an experiment; None where its budget is left out.

        What is planned has a default in them (`experiments.planned.with_plan`).
        """
        training = self._role(experiment).training
        if experiment.budget is None:
            return training
        epochs = self.transfer.epochs.get(experiment.budget)
        if epochs is None:
            return None
        return training.with_epochs(epochs)

    def _role(self, experiment: Experiment) -> RoleSettings:
        roles: dict[Role, RoleSettings] = {
            "pretrain": self.pretrain,
            "ablation": self.ablation,
            "transfer": self.transfer,
        }
        return roles[experiment.role]
