"""Values of the experiments: the part of the grid that an environment sets."""

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import field_validator, model_validator

from tsfm_pipeline.experiments.grid import BUDGETS, Experiment, Role
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings

Planned = Literal["patch", "batch_size"]
"""Settings of a training that the plan of its dataset can decide."""


class RoleSettings(FrozenModel):
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


class PretrainSettings(RoleSettings):
    """How the network of the pool is trained.

    Attributes:
        initial_weights: weights that it starts from: a .safetensors file, or a model folder,
            whose best weights are taken. A relative path starts at the working folder. Null
            starts from scratch.
    """

    initial_weights: Path | None = None

    @field_validator("initial_weights")
    @classmethod
    def _weights_file(cls, given: Path | None) -> Path | None:
        # Looked for when the parameters are read: else hours of preparation come first.
        if given is None:
            return None
        path = (ModelFolder(given).weights("best") if given.is_dir() else given).absolute()
        if not path.is_file():
            raise ValueError(
                f"{path} not found; name a .safetensors file or a model folder: that of released"
                " weights, or data/06_models/WORKSPACE/EXPERIMENT/DIGEST of a training. null"
                " starts from scratch"
            )
        return path


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


class ExperimentSettings(FrozenModel):
    """Values of every role of the grid.

    Attributes:
        pretrain: TSFM on the whole pool.
        ablation: TSFM pre-trained on one dataset (Table 3).
        transfer: fine-tuning and training from scratch on a downstream dataset (Table 2).
    """

    pretrain: PretrainSettings
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

    def initial_weights_of(self, experiment: Experiment) -> Path | None:
        """Return the weights file that the settings let an experiment start from."""
        return self.pretrain.initial_weights if experiment.role == "pretrain" else None

    def _role(self, experiment: Experiment) -> RoleSettings:
        roles: dict[Role, RoleSettings] = {
            "pretrain": self.pretrain,
            "ablation": self.ablation,
            "transfer": self.transfer,
        }
        return roles[experiment.role]
