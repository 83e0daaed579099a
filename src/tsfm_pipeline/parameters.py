"""The one root model of all parameters."""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tsfm_pipeline.evaluation.extra_targets import check_unions
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.evaluation.threshold import BASELINE
from tsfm_pipeline.experiments.grid import EXPERIMENTS, PROMPTED
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

if TYPE_CHECKING:
    from kedro.config import AbstractConfigLoader

HEADING = "wrong parameters in conf/ or --params:"


class ParametersError(ValueError):
    """Parameters that are not what the project's settings allow."""


class Parameters(FrozenModel):
    """Every parameter of the project: one field per top-level key of `parameters*.yml`.

    Attributes:
        raw_root: folder of the raw datasets.
        workspace: where split, models, predictions and reports lie below `data/<layer>`.
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
    workspace: str
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
            check_unions(parameters.evaluation, parameters.labels)
            refuse_plans_of_many(parameters.experiments, parameters.pool.datasets)
        except (LabelError, PlanningError) as error:
            raise ParametersError(str(error)) from None
        unknown = [*_unknown_datasets(parameters), *_unknown_experiments(parameters.paper_tables)]
        if unknown:
            raise ParametersError(f"{HEADING}\n" + "\n".join(unknown))
        return parameters


def load_parameters(conf_source: str, environment: str | None) -> Parameters:
    """Load the parameters of an environment outside a run, as `load_configuration`.

    Raises:
        ParametersError: no such environment, or wrong parameters.
    """
    return Parameters.from_mapping(load_configuration(conf_source, environment)["parameters"])


def load_configuration(
    conf_source: str, environment: str | None, workspace: str | None = None
) -> "AbstractConfigLoader":
    """Return the configuration of an environment outside a run, by kind: parameters, catalog.

    Args:
        conf_source: folder of the configuration.
        environment: its name; None is the one of a `kedro run` without `--env`.
        workspace: where the results lie; None is the environment's own.

    Raises:
        ParametersError: no such environment.
    """
    from kedro.framework.project import configure_project, settings  # noqa: PLC0415

    configure_project(__name__.partition(".")[0])
    default = settings.CONFIG_LOADER_ARGS["default_run_env"]
    environment = environment or os.getenv("KEDRO_ENV") or default
    require_environment(conf_source, environment)
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
        conf_source,
        env=environment,
        runtime_params={"workspace": workspace} if workspace else {},
        **settings.CONFIG_LOADER_ARGS,
    )
    return loader


def require_environment(conf_source: str, environment: str | None) -> None:
    """Refuse an environment that has no folder in the configuration.

    Raises:
        ParametersError: no configuration; or naming the nearest environment and all that there are.
    """
    root = Path(conf_source)
    if not root.exists() and "://" not in conf_source:
        raise ParametersError(
            f"there is no configuration {root.absolute()}; run this in the project's folder,"
            " or --conf-source"
        )
    if not root.is_dir() or environment is None or (root / environment).is_dir():
        return  # Kedro also takes archives and addresses
    known = sorted(path.name for path in root.iterdir() if path.is_dir())
    raise ParametersError(
        f"--env {environment}: there is no folder {root / environment}"
        f"{did_you_mean(environment, known)}\nEnvironments: {', '.join(known)}."
    )


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' with the nearest name; a full stop where none is near."""
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _unknown_datasets(parameters: Parameters) -> list[str]:
    known = parameters.datasets.root
    return [
        f"  pool.{part}: `datasets` has no entry {name!r}{did_you_mean(name, known)}"
        for part in ("datasets", "downstream")
        for name in getattr(parameters.pool, part)
        if name not in known
    ]


def _unknown_experiments(tables: PaperTables) -> list[str]:
    """Name what would read 'not run' for ever, since nothing of this name can be run."""
    known = [*EXPERIMENTS, BASELINE, PROMPTED]  # the last two train nothing
    named = {
        (table, row.name, experiment)
        for table, content in tables.root.items()
        for block in content.blocks
        for row in block.rows
        for column in content.columns
        if (experiment := row.experiment_of(column)) is not None
        and not column.mean_of  # of several experiments
    }
    return [
        f"  paper_tables.{table}: row {row!r}: no experiment {experiment!r}"
        f"{did_you_mean(experiment, known)}"
        for table, row, experiment in sorted(named)
        if experiment not in known
    ]


def _explained(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            *above, key = problem["loc"]
            known = _keys_at(Parameters.model_json_schema(), above)
            lines.append(f"  {path}: unknown key{did_you_mean(str(key), known)}")
        else:
            given = problem["input"]
            got = "" if isinstance(given, Mapping) else f" (got {given!r:.200})"
            lines.append(f"  {path}: {problem['msg'].removeprefix('Value error, ')}{got}")
    return "\n".join([HEADING, *lines])


def _keys_at(schema: Mapping[str, Any], path: Sequence[int | str]) -> list[str]:
    """Return the keys that the JSON schema allows at the place of an error."""

    def keys(node: Mapping[str, Any], rest: Sequence[int | str]) -> list[str]:
        if "$ref" in node:
            return keys(schema["$defs"][node["$ref"].rpartition("/")[2]], rest)
        if "anyOf" in node:  # optional sections
            return [key for option in node["anyOf"] for key in keys(option, rest)]
        if not rest:
            return list(node.get("properties", {}))
        first, *below = rest
        if first in (layouts := node.get("discriminator", {}).get("mapping", {})):
            return keys({"$ref": layouts[first]}, below)
        inner = node.get("properties", {}).get(first) or node.get("additionalProperties")
        return keys(inner, below) if isinstance(inner, Mapping) else []

    return keys(schema, path)
