"""Wiring of the experiment template, and of the part of the grid that a pipeline owns."""

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID, Experiment
from tsfm_pipeline.pipelines.experiment.nodes import (
    predict_cases,
    score_predictions,
    train_model,
)

SHARED = {"pool_store", "splits", "case_index", "models_root", "predictions_root"}
"""Catalogue entries that all experiments read."""

PARAMETERS = ("experiments", "labels", "preparation", "prediction", "datasets")
"""Parameters that all experiments read."""


def create_grid_pipeline(pipeline: str) -> Pipeline:
    """Create the experiments of the grid that belong to one pipeline."""
    return sum(
        (create_experiment_pipeline(entry) for entry in GRID if entry.pipeline == pipeline),
        start=Pipeline([]),
    )


def create_experiment_pipeline(experiment: Experiment) -> Pipeline:
    """Instantiate the template in the experiment's namespace."""
    starts_from = EXPERIMENTS[experiment.initial] if experiment.initial else None
    inputs = {name: name for name in SHARED}
    inputs["experiment"] = f"{experiment.flat_name}_experiment"
    if starts_from is not None:
        inputs["initial_model"] = f"{starts_from.flat_name}_model"
    return Pipeline(
        _template(from_initial=starts_from is not None),
        namespace=experiment.name,
        inputs=inputs,
        outputs={
            "model": f"{experiment.flat_name}_model",
            "predictions": f"{experiment.flat_name}_predictions",
            "scores": f"{experiment.flat_name}_scores",
        },
        parameters={f"params:{key}": f"params:{key}" for key in PARAMETERS},
    )


def _template(from_initial: bool) -> Pipeline:
    training_inputs = {
        "experiment": "experiment",
        "experiments": "params:experiments",
        "labels": "params:labels",
        "preparation": "params:preparation",
        "pool_store": "pool_store",
        "splits": "splits",
        "models_root": "models_root",
    }
    if from_initial:
        training_inputs["initial_model"] = "initial_model"
    return Pipeline(
        [
            Node(
                train_model,
                inputs=training_inputs,
                outputs="model",
                name="train",
            ),
            Node(
                predict_cases,
                inputs={
                    "model": "model",
                    "prediction": "params:prediction",
                    "labels": "params:labels",
                    "pool_store": "pool_store",
                    "models_root": "models_root",
                    "predictions_root": "predictions_root",
                },
                outputs="predictions",
                name="predict",
            ),
            Node(
                score_predictions,
                inputs={
                    "model": "model",
                    "predictions": "predictions",
                    "case_index": "case_index",
                    "datasets": "params:datasets",
                    "labels": "params:labels",
                    "preparation": "params:preparation",
                    "predictions_root": "predictions_root",
                },
                outputs="scores",
                name="score",
            ),
        ]
    )
