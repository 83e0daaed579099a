"""The one root model of all parameters."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments.planned import refuse_plans_of_many
from tsfm_pipeline.experiments.settings import ExperimentSettings
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.imaging.labels import LabelError, LabelTable
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.planning.fingerprint import PlanningError
from tsfm_pipeline.planning.settings import PlanningSettings
from tsfm_pipeline.pool.settings import PoolSettings, SplitSettings
from tsfm_pipeline.preparation.anatomy import check_audit
from tsfm_pipeline.preparation.settings import (
    AuditSettings,
    PreparationSettings,
    ScreeningSettings,
)
from tsfm_pipeline.reporting.paper_tables import PaperTables
from tsfm_pipeline.reporting.settings import ReportingSettings
from tsfm_pipeline.scans.settings import PredictRun
from tsfm_pipeline.sources import Datasets, check_labels
from tsfm_pipeline.tracking.settings import TrackingSettings
from tsfm_pipeline.workers import WorkerSettings


class ParametersError(ValueError):
    """Parameters that are not what the project's settings allow."""


class Parameters(FrozenModel):
    """Every parameter of the project: one field per top-level key of `parameters*.yml`.

    Attributes:
        raw_root: folder of the raw datasets.
        datasets: how each raw dataset is read.
        pool: which datasets make the pool, and which are downstream.
        labels: the fused label table.
        phantom: the synthetic datasets.
        workers: how many cases are worked on at once, and where.
        screening: how raw cases are looked into.
        preparation: target spacing.
        audit: what the labels of prepared cases have to look like.
        planning: the memory that plans are made for.
        splits: cross-validation folds.
        experiments: values of the experiment grid.
        inference: sliding window and which weights are scored.
        predict: scans of one's own to segment.
        evaluation: how predictions are scored.
        paper_tables: the paper's printed numbers.
        reporting: how results are reported.
        tracking: where runs are tracked.
    """

    raw_root: str
    datasets: Datasets
    pool: PoolSettings
    labels: LabelTable
    phantom: PhantomSettings
    workers: WorkerSettings
    screening: ScreeningSettings
    preparation: PreparationSettings
    audit: AuditSettings
    planning: PlanningSettings
    splits: SplitSettings
    experiments: ExperimentSettings
    inference: InferenceSettings
    predict: PredictRun = PredictRun()
    evaluation: EvaluationSettings
    paper_tables: PaperTables
    reporting: ReportingSettings
    tracking: TrackingSettings

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> "Parameters":
        """Build the model.

        Raises:
            ParametersError: naming every wrong key or value by its dotted path.
        """
        try:
            parameters = cls.model_validate(dict(raw))
        except ValidationError as error:
            raise ParametersError(_explained(error)) from None
        try:
            check_labels(parameters.datasets.root, parameters.labels)
            check_audit(parameters.audit, parameters.labels)
            refuse_plans_of_many(parameters.experiments, parameters.pool.datasets)
        except (LabelError, PlanningError) as error:
            raise ParametersError(str(error)) from None
        return parameters


def _explained(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {path}: unknown key; remove it or correct its spelling")
        else:
            lines.append(f"  {path}: {problem['msg']} (got {problem['input']!r:.200})")
    return "wrong parameters in conf/ or --params:\n" + "\n".join(lines)
