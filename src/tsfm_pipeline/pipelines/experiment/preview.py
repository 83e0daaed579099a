"""What Kedro-Viz shows beside a training: its settings in the environment that is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kedro.pipeline.preview_contract import MermaidPreview

from tsfm_pipeline.experiments.experiment import Experiment


@dataclass
class Shown:
    """The environment whose settings the drawings show; Kedro-Viz asks for them without a word.

    Attributes:
        configuration: Kedro's loader of the session's environment; None outside a session.
    """

    configuration: Mapping[str, Any] | None = None


SHOWN = Shown()


def draw_training(experiment: Experiment) -> MermaidPreview:
    """Draw what trains an experiment, and with what budget; the network itself where it is TSFM."""
    from tsfm_pipeline.parameters import Parameters

    if SHOWN.configuration is None:
        return MermaidPreview(content=_boxes(["no environment is loaded"]))
    parameters = Parameters.from_mapping(SHOWN.configuration["parameters"])
    return MermaidPreview(content=training_drawing(experiment, parameters))


def training_drawing(experiment: Experiment, parameters: Any) -> str:
    """Return the drawing as Mermaid text.

    Args:
        experiment: of the grid.
        parameters: `tsfm_pipeline.parameters.Parameters` of an environment.
    """
    from tsfm_pipeline.experiments.cost import CostEstimator
    from tsfm_pipeline.network.diagram import diagram
    from tsfm_pipeline.network.sizes import NETWORKS, TsfmSize

    settings, pool = parameters.experiments, parameters.pool
    sources = parameters.datasets.root
    spacing = parameters.preparation.target_spacing
    estimator = CostEstimator(
        settings=settings,
        sources={name: sources[name] for name in (*pool.datasets, *pool.downstream)},
        pool=pool.datasets,
        table=parameters.labels,
        spacing=None if spacing == "median" else spacing,
        plans={},
        measured={},
    )
    if reason := estimator.why_free(experiment):
        return _boxes([f"method {experiment.method}", f"not trained: {reason}"])
    cost, training = estimator.cost_of(experiment), settings.training_of(experiment)
    weights = settings.initial_weights_of(experiment)
    engine = " of nnU-Net v2" if settings.engine_of(experiment) == "nnunetv2" else ""
    planned = settings.planned_of(experiment)
    lines = [
        f"method {experiment.method}: {cost.network} {cost.size}{engine}",
        f"{cost.parameters / 1e6:,.1f} million parameters",
        f"patch {' x '.join(map(str, cost.patch))}, batch {cost.batch_size}"
        + (f" ({' and '.join(planned)} from the dataset's plan)" if planned else ""),
        f"{training.epochs} epochs of {training.iterations_per_epoch} steps",
        f"{training.optimizer}, learning rate {training.learning_rate:g}, loss {training.loss}",
        f"starts from {weights.name if weights else experiment.initial or 'scratch'}",
    ]
    size = NETWORKS[cost.network][cost.size]
    if not isinstance(size, TsfmSize):
        return _boxes(lines)
    outputs = estimator.outputs_of(experiment)
    return diagram(size, 1, outputs, cost.patch) + _training_box(lines) + "    training --- image\n"


def _boxes(lines: list[str]) -> str:
    return f"flowchart TB\n{_training_box(lines)}"


def _training_box(lines: list[str]) -> str:
    text = "<br/>".join(lines).replace('"', "'")
    return f'    training["{text}"]\n'
