"""What Kedro-Viz shows beside a training: its settings in the environment that is shown."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kedro.pipeline.preview_contract import MermaidPreview

from tsfm_pipeline.experiments.experiment import Experiment

if TYPE_CHECKING:
    from tsfm_pipeline.experiments.cost import CostEstimator


class Shown:
    """The environment whose settings the drawings show; Kedro-Viz asks for them without a word."""

    def __init__(self) -> None:
        self._configuration: Mapping[str, Any] = {}

    def show(self, configuration: Mapping[str, Any]) -> None:
        """Show an environment from now on; nothing is read before a drawing is asked for."""
        self._configuration = configuration
        self.__dict__.pop("estimator", None)

    @cached_property
    def estimator(self) -> "CostEstimator":
        """Its trainings, as they are before any run."""
        from tsfm_pipeline.experiments.cost import CostEstimator
        from tsfm_pipeline.parameters import Parameters

        parameters = Parameters.from_mapping(self._configuration["parameters"])
        pool, sources = parameters.pool, parameters.datasets.root
        spacing = parameters.preparation.target_spacing
        return CostEstimator(
            settings=parameters.experiments,
            sources={name: sources[name] for name in (*pool.datasets, *pool.downstream)},
            pool=pool.datasets,
            table=parameters.labels,
            spacing=None if spacing == "median" else spacing,
            plans={},
            measured={},
        )


SHOWN = Shown()


def draw_training(experiment: Experiment) -> MermaidPreview:
    """Draw what trains an experiment, and with what budget; the network itself where it is TSFM."""
    from tsfm_pipeline.network.diagram import diagram
    from tsfm_pipeline.network.sizes import NETWORKS, TsfmSize

    estimator = SHOWN.estimator
    settings = estimator.settings
    training = settings.training_of(experiment)
    reason = estimator.why_free(experiment)
    if reason is not None or training is None:
        lines = [f"method {experiment.method}", f"not trained: {reason}"]
        return MermaidPreview(content=f"flowchart TB\n{_box(lines)}")
    cost = estimator.cost_of(experiment)
    weights = settings.initial_weights_of(experiment)
    engine = " of nnU-Net v2" if settings.engine_of(experiment) == "nnunetv2" else ""
    planned = " and ".join(settings.planned_of(experiment))
    lines = [
        f"method {experiment.method}: {cost.network} {cost.size}{engine}",
        f"{cost.parameters / 1e6:,.1f} million parameters",
        f"patch {' x '.join(map(str, cost.patch))}, batch {cost.batch_size}"
        + (f" ({planned} from the dataset's plan)" if planned else ""),
        f"{training.epochs} epochs of {training.iterations_per_epoch} steps",
        f"{training.optimizer}, learning rate {training.learning_rate:g}, loss {training.loss}",
        f"starts from {weights.name if weights else experiment.initial or 'scratch'}",
    ]
    size = NETWORKS[training.network][training.size]
    if not isinstance(size, TsfmSize):
        return MermaidPreview(content=f"flowchart TB\n{_box(lines)}")
    drawing = diagram(size, 1, estimator.outputs_of(experiment), cost.patch)
    return MermaidPreview(content=f"{drawing}{_box(lines)}    training --- image\n")


def _box(lines: list[str]) -> str:
    text = "<br/>".join(lines).replace('"', "'")
    return f'    training["{text}"]\n'
