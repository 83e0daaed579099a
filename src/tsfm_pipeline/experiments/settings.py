"""Values of the experiments: the part of the grid that an environment sets."""

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, PositiveInt, ValidationError, field_validator, model_validator

from tsfm_pipeline.experiments.experiment import Experiment, Role
from tsfm_pipeline.experiments.grid import BUDGETS, FEW, GRID, LONG, PROMPTED
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.extras import why_missing

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
        numbers, planned = _apart(given["training"])
        return {**given, "training": numbers, **({"planned": planned} if planned else {})}


class PretrainSettings(RoleSettings):
    """How the network of the pool is trained.

    Attributes:
        initial_weights: weights that TSFM starts from: a .safetensors file, or a model folder,
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
        cases: training cases of each few-case transfer; null leaves it out.
    """

    epochs: dict[str, int | None]
    cases: dict[str, PositiveInt | None] = Field(default_factory=dict)

    def model_post_init(self, context: object) -> None:
        """Refuse a budget that the grid does not have."""
        for name, given, known in (
            ("epochs", self.epochs, (*BUDGETS, LONG)),
            ("cases", self.cases, FEW),
        ):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ValueError(f"experiments.transfer.{name}: {unknown} not among {list(known)}")
        for epochs in self.epochs.values():
            if epochs is not None:
                self.training.with_epochs(epochs)


class MethodSettings(FrozenModel):
    """What sets a method apart from TSFM.

    Attributes:
        training: settings of the training that differ from the role's.
        pretraining: "here" trains the weights that its transfers start from; "checkpoint" takes
            published ones, which come without CT statistics: those are its own.
        checkpoint: file of published weights.
    """

    training: dict[str, Any] = Field(default_factory=dict)
    pretraining: Literal["here", "checkpoint"] = "here"
    checkpoint: Path | None = None

    @field_validator("checkpoint")
    @classmethod
    def _checkpoint_file(cls, given: Path | None) -> Path | None:
        if given is not None and not given.is_file():
            raise ValueError(f"{given.absolute()} not found; name the published weights' file")
        return None if given is None else given.absolute()

    @model_validator(mode="after")
    def _one_start(self) -> "MethodSettings":
        if self.checkpoint is not None and self.pretraining == "here":
            raise ValueError("a checkpoint is given: set pretraining to checkpoint")
        return self


class NnunetSettings(FrozenModel):
    """Who trains nnU-Net on single datasets.

    Attributes:
        engine: "native" is this project's U-Net, equal in plan and count, in the pool's spacing;
            "nnunetv2" is the real one, which plans, preprocesses, trains and predicts by itself.
        python: of the environment that has nnunetv2; `make nnunet` makes it.
    """

    engine: Literal["native", "nnunetv2"] = "native"
    python: Path = Path(".venv-nnunet/bin/python")


class ExperimentSettings(FrozenModel):
    """Values of every role and method of the grid.

    Attributes:
        left_out: shell patterns of experiments that are not run in this environment.
        pretrain: on the whole pool.
        baseline: on one dataset of the pool, from scratch (Table 1).
        ablation: TSFM pre-trained on other pools (Table 3).
        transfer: fine-tuning and training from scratch on a downstream dataset (Table 2).
        study: variants of TSFM on the whole pool.
        methods: what differs from the role's settings.
        nnunet: who trains the method `nnunet`.
    """

    left_out: tuple[str, ...] = ()
    pretrain: PretrainSettings
    baseline: RoleSettings
    ablation: RoleSettings
    transfer: TransferSettings
    study: RoleSettings
    methods: dict[str, MethodSettings]
    nnunet: NnunetSettings = NnunetSettings()

    @model_validator(mode="after")
    def _all_can_be_trained(self) -> "ExperimentSettings":
        if "sam_med3d" not in self.methods:
            raise ValueError(f"experiments.methods lacks sam_med3d, which {PROMPTED} scores")
        for experiment in GRID:
            if experiment.method not in self.methods:
                raise ValueError(
                    f"{experiment.name} is of method {experiment.method!r}, which is not among"
                    f" experiments.methods: {', '.join(self.methods)}"
                )
            try:
                self.training_of(experiment)
            except ValidationError as error:
                problem = error.errors()[0]
                where = ".".join(("training", *map(str, problem["loc"])))
                raise ValueError(
                    f"experiments.methods.{experiment.method}.{where}, with"
                    f" experiments.{experiment.role}.training: {problem['msg']}"
                ) from None
        return self

    def planned_of(self, experiment: Experiment) -> tuple[Planned, ...]:
        """Return which settings of an experiment its dataset's plan decides."""
        numbers, planned = _apart(self.methods[experiment.method].training)
        role = [name for name in self._role(experiment).planned if name not in numbers]
        return tuple(name for name in get_args(Planned) if name in {*role, *planned})

    def training_of(self, experiment: Experiment) -> TrainingSettings | None:
        """Return the training settings of an experiment; None where its budget is left out.

        What is planned has a default in them (`experiments.planned.with_plan`).
        """
        training = self._role(experiment).training
        method = self.methods[experiment.method]
        numbers, _ = _apart(method.training)
        epochs: int | None = numbers.get("epochs", training.epochs)
        if experiment.budget is not None:
            epochs = self.transfer.epochs.get(experiment.budget)
        if epochs is None:
            return None
        if method.pretraining == "checkpoint":  # published weights come without CT statistics
            numbers = {"ct_statistics": "own"} | numbers
        merged = _merged(training.model_dump(), numbers) | {"epochs": epochs}
        settings = TrainingSettings.model_validate(merged)
        return settings.model_copy(update={"seed": settings.seed + experiment.seed})

    def initial_weights_of(self, experiment: Experiment) -> Path | None:
        """Return the weights file that the settings let an experiment start from.

        A method's checkpoint stands for its pre-training: its transfers start from it.
        """
        if experiment.name == "pretrain.tsfm":
            return self.pretrain.initial_weights
        return self.methods[experiment.method].checkpoint if experiment.initial else None

    def start_of(self, experiment: Experiment) -> str | None:
        """Return the experiment that has to be finished before; None where it waits for none."""
        return None if self.initial_weights_of(experiment) else experiment.initial

    def why_not_run(self, experiment: Experiment) -> str | None:
        """Say why the settings do not let an experiment run; None where they do."""
        return self.why_left_out(experiment) or self._lacking(experiment)

    def why_not_prompted(self) -> str | None:
        """Say why the settings do not let SAM-Med3D be scored; None where they do."""
        if any(fnmatch(PROMPTED, pattern) for pattern in self.left_out):
            return "left out in this environment (experiments.left_out)"
        if self.methods["sam_med3d"].checkpoint is None:
            return "set experiments.methods.sam_med3d.checkpoint to its published weights"
        return why_missing("sam_med3d")

    def why_left_out(self, experiment: Experiment) -> str | None:
        """Say by which choice of the environment an experiment is not run; None where by none."""
        if any(fnmatch(experiment.name, pattern) for pattern in self.left_out):
            return "left out in this environment (experiments.left_out)"
        if self.training_of(experiment) is None:
            return f"budget {experiment.budget} is left out in this environment"
        if experiment.cases is not None and self.transfer.cases.get(experiment.cases) is None:
            return f"{experiment.cases} is left out in this environment"
        return None

    def _lacking(self, experiment: Experiment) -> str | None:
        method = self.methods[experiment.method]
        if self.lacks_checkpoint(experiment):
            return (
                f"set experiments.methods.{experiment.method}.checkpoint to its published weights"
            )
        if method.checkpoint is not None and experiment.initial is None:
            return f"published weights are taken instead: {method.checkpoint}"
        return why_missing(self.network_of(experiment))

    def network_of(self, experiment: Experiment) -> str:
        """Return the name of an experiment's network."""
        return str(self.methods[experiment.method].training.get("network", "tsfm"))

    def engine_of(self, experiment: Experiment) -> Literal["native", "nnunetv2"]:
        """Return what trains an experiment: nnU-Net v2 needs one dataset, annotated in full."""
        single = experiment.method == "nnunet" and len(experiment.datasets) == 1
        return self.nnunet.engine if single else "native"

    def lacks_checkpoint(self, experiment: Experiment) -> bool:
        """Tell whether an experiment waits for published weights."""
        method = self.methods[experiment.method]
        return method.pretraining == "checkpoint" and method.checkpoint is None

    def _role(self, experiment: Experiment) -> RoleSettings:
        roles: dict[Role, RoleSettings] = {
            "pretrain": self.pretrain,
            "baseline": self.baseline,
            "ablation": self.ablation,
            "transfer": self.transfer,
            "study": self.study,
        }
        return roles[experiment.role]


def _apart(training: Mapping[str, Any]) -> tuple[dict[str, Any], list[Planned]]:
    """Set what is planned apart from the numbers."""
    planned = [name for name in get_args(Planned) if training.get(name) == "planned"]
    return {name: value for name, value in training.items() if name not in planned}, planned


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put changes into a tree of settings."""
    merged = dict(base)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(name), dict)
        merged[name] = _merged(base[name], value) if nested else value
    return merged
