"""Wiring of the experiment template, and of the part of the grid that a pipeline owns.

What passes between the experiments of one pipeline stays inside its namespace, so that the lineage
page folds each pipeline into one box.
"""

from functools import partial, update_wrapper

from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.experiments.experiment import Experiment
from tsfm_pipeline.experiments.grid import EXPERIMENTS, GRID
from tsfm_pipeline.experiments.outcome import collect_statuses
from tsfm_pipeline.experiments.tables import concatenate_tables
from tsfm_pipeline.pipelines.experiment.nodes import (
    predict_cases,
    score_predictions,
    train_model,
)
from tsfm_pipeline.pipelines.experiment.preview import draw_training

SHARED = (
    "pool_store",
    "splits",
    "target_spacing",
    "dataset_plans",
    "case_index",
    "models_root",
    "predictions_root",
    "raw_root",
)
"""Catalogue entries that all experiments read."""

PARAMETERS = ("experiments", "labels", "inference", "datasets", "evaluation", "workers")
"""Parameters that all experiments read."""

OUTPUTS = ("model", "predictions", "prediction_outcome", "scores", "scoring_outcome")
"""What every experiment makes."""


def create_grid_pipeline(pipeline: str) -> Pipeline:
    """Create the experiments of the grid that belong to one pipeline.

    Outputs, for the report: `<pipeline>_scores` and `<pipeline>_statuses`; and the record of any
    model that an experiment of another pipeline starts from, `<experiment>_model`.
    """
    entries = [entry for entry in GRID if entry.pipeline == pipeline]
    inner = {output: [_inner(entry, output) for entry in entries] for output in OUTPUTS}
    collecting = [
        Node(concatenate_tables, inner["scores"], "scores", name="collect_scores"),
        Node(collect_statuses, inner["scoring_outcome"], "statuses", name="collect_statuses"),
    ]
    starts = {entry.initial for entry in GRID if entry.initial and entry.pipeline != pipeline}
    given = [entry for entry in entries if entry.name in starts]
    taken = {
        EXPERIMENTS[entry.initial].flat_name
        for entry in entries
        if entry.initial and EXPERIMENTS[entry.initial].pipeline != pipeline
    }
    return Pipeline(
        [*(_experiment_pipeline(entry) for entry in entries), *collecting],
        namespace=pipeline,
        inputs={*SHARED, *(f"{name}_model" for name in taken)},
        outputs={
            "scores": f"{pipeline}_scores",
            "statuses": f"{pipeline}_statuses",
            **{_inner(entry, "model"): f"{entry.flat_name}_model" for entry in given},
        },
        parameters={f"params:{key}" for key in PARAMETERS},
    )


def _inner(experiment: Experiment, output: str) -> str:
    """Name a dataset of an experiment inside its pipeline's namespace."""
    return f"{experiment.flat_name.removeprefix(experiment.pipeline + '_')}_{output}"


def _experiment_pipeline(experiment: Experiment) -> Pipeline:
    """Instantiate the template in the experiment's namespace within its pipeline's."""
    inputs = dict(zip(SHARED, SHARED, strict=True))
    if experiment.initial:
        start = EXPERIMENTS[experiment.initial]
        inside = start.pipeline == experiment.pipeline
        inputs["initial_model"] = _inner(start, "model") if inside else f"{start.flat_name}_model"
    return Pipeline(
        _template(experiment),
        namespace=experiment.name.removeprefix(f"{experiment.pipeline}."),
        inputs=inputs,
        outputs={output: _inner(experiment, output) for output in OUTPUTS},
        parameters={f"params:{key}" for key in PARAMETERS},
    )


def _template(experiment: Experiment) -> Pipeline:
    # Bound by name, behind the others: Kedro matches parameters to type hints by position.
    train = update_wrapper(partial(train_model, experiment=experiment), train_model)
    return Pipeline(
        [
            Node(
                train,
                [
                    "params:experiments",
                    "params:labels",
                    "params:datasets",
                    "case_index",
                    "pool_store",
                    "splits",
                    "target_spacing",
                    "dataset_plans",
                    "models_root",
                    "raw_root",
                    *(["initial_model"] if experiment.initial else []),
                ],
                "model",
                name="train",
                preview_fn=partial(draw_training, experiment),
            ),
            Node(
                predict_cases,
                [
                    "model",
                    "params:inference",
                    "params:datasets",
                    "pool_store",
                    "models_root",
                    "predictions_root",
                ],
                ["predictions", "prediction_outcome"],
                name="predict",
            ),
            Node(
                score_predictions,
                [
                    "model",
                    "predictions",
                    "prediction_outcome",
                    "case_index",
                    "params:datasets",
                    "params:labels",
                    "params:evaluation",
                    "params:workers",
                    "predictions_root",
                ],
                ["scores", "scoring_outcome"],
                name="score",
            ),
        ]
    )
