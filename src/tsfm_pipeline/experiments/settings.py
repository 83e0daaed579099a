"""Values of the experiments: the part of the grid that an environment sets."""

from tsfm_pipeline.experiments.grid import BUDGETS, Experiment, Role
from tsfm_pipeline.schema import Settings
from tsfm_pipeline.training.settings import TrainingSettings


class RoleSettings(Settings):
    """How the experiments of one role are trained.

    Attributes:
        training: network size, optimiser, patch, sampling, augmentation.
    """

    training: TrainingSettings


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

    def training_of(self, experiment: Experiment) -> TrainingSettings | None:
        """Return the training settings of an experiment; None where its budget is left out."""
        roles: dict[Role, RoleSettings] = {
            "pretrain": self.pretrain,
            "ablation": self.ablation,
            "transfer": self.transfer,
        }
        training = roles[experiment.role].training
        if experiment.budget is None:
            return training
        epochs = self.transfer.epochs.get(experiment.budget)
        if epochs is None:
            return None
        return training.model_copy(update={"epochs": epochs})
