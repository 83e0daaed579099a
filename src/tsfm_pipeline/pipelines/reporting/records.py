"""What the experiments left beside their scores: model records, and their MLflow runs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd

from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.prediction_run import PREDICTIONS_SCHEMA
from tsfm_pipeline.experiments.progress import spec_of
from tsfm_pipeline.model.folder import ModelFolder, Weights
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.reporting.provenance import Origin
from tsfm_pipeline.reporting.selection import Selection, selection_of
from tsfm_pipeline.tracking.pages import run_page
from tsfm_pipeline.tracking.problem import never_fatal
from tsfm_pipeline.tracking.runs import KEDRO_RUN_TAG, PARAMS_TAG, tag_of_run
from tsfm_pipeline.tracking.source import GIT_COMMIT
from tsfm_pipeline.tracking.trainings import DIGEST_TAG


@dataclass(frozen=True)
class TrackedRun:
    """The MLflow run of a training.

    Attributes:
        run: its id.
        url: its page.
        commit: of the code.
        params: `--params` of the `kedro run` that asked for the training last.
    """

    run: str = ""
    url: str = ""
    commit: str = ""
    params: str = ""


def model_records(models_root: Path, experiments: Iterable[str]) -> dict[str, ModelRecord]:
    """Read the records of trainings, as the catalogue's `{pipeline}.{experiment}_model` saves them.

    Args:
        models_root: the folder of all models.
        experiments: names; those without a record are left out.

    Returns:
        Experiment -> its record.
    """
    paths = {name: models_root / f"{name.replace('.', '_')}.json" for name in experiments}
    return {
        name: ModelRecord.model_validate_json(path.read_bytes())
        for name, path in paths.items()
        if path.is_file()
    }


def predictions_of(predictions_root: Path, experiment: str) -> pd.DataFrame:
    """Read what the catalogue's `..._predictions` lists of an experiment; no rows of none."""
    table = predictions_root / f"{experiment.replace('.', '_')}_predictions.parquet"
    if not table.is_file():
        return pd.DataFrame(columns=PREDICTIONS_SCHEMA.names)
    return pd.read_parquet(table)


def predicted_files(
    predictions_root: Path, experiments: Iterable[str], weights: Weights = "best"
) -> dict[tuple[str, str], Path]:
    """Find the files that experiments predicted.

    Returns:
        (experiment, key of the case) -> predicted file or folder.
    """
    found = {}
    for name in experiments:
        rows = predictions_of(predictions_root, name)
        rows = rows[rows["weights"] == weights]
        for key, file in zip(rows["key"], rows["file"], strict=True):
            found[name, str(key)] = predictions_root / str(file)
    return found


def origins(
    records: Mapping[str, ModelRecord], models_root: Path, pools: Mapping[str, str]
) -> dict[str, Origin]:
    """Say where the figures of every experiment come from.

    Args:
        records: of `model_records`.
        models_root: the folder of all models.
        pools: experiment -> version of the pool, where it is known.
    """
    tracked = tracked_runs({record.digest for record in records.values() if record.digest})
    untracked = TrackedRun(params=tag_of_run(PARAMS_TAG))
    found = {}
    for name in {**pools, **records}:
        record = records.get(name)
        if record is None or record.status != "finished":
            found[name] = Origin(pool=pools.get(name, ""), params=untracked.params)
            continue
        folder = record.model_folder(models_root)
        summary, spec = folder.summary, spec_of(folder)
        run = tracked.get(record.digest, untracked)
        found[name] = Origin(
            digest=record.digest,
            folder=record.folder,
            epochs=record.epochs,
            network="" if spec is None else f"{spec.settings.network} {spec.settings.size}",
            parameters=0 if summary is None else summary.parameters,
            start=_start(name, records, models_root),
            hours=None if summary is None else summary.seconds / 3600,
            pool=pools.get(name, ""),
            commit=run.commit,
            run=run.run,
            run_url=run.url,
            params=run.params,
        )
    return found


def _start(experiment: str, records: Mapping[str, ModelRecord], models_root: Path) -> str:
    """Say which weights a training started from; empty where from scratch or not known."""
    entry = EXPERIMENTS.get(experiment)
    if entry is None or entry.initial is None:
        return ""
    record = records.get(entry.initial)
    if record is None or record.status != "finished":  # it ran, so the settings named other weights
        return f"published weights (experiments.methods.{entry.method}.checkpoint)"
    spec = spec_of(record.model_folder(models_root))
    if spec is None:
        return f"{entry.initial}, trained here"
    datasets = sorted({key.split("/", 1)[0] for key in spec.training})
    on = datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets"
    data = {True: ", synthetic phantoms", False: ", real data", None: ""}[spec.synthetic]
    return f"{entry.initial}, trained here on {on}{data}"


def selections(
    records: Mapping[str, ModelRecord],
    models_root: Path,
    held_out: Collection[str],
    persons: Mapping[str, str],
) -> dict[str, Selection]:
    """Say of every finished training what chose its best weights.

    Args:
        records: of `model_records`.
        models_root: the folder of all models.
        held_out: keys of all cases that the present split holds out.
        persons: key -> person.
    """
    specs: dict[str, TrainingSpec] = {}
    for name, record in records.items():
        if record.status == "finished" and (spec := spec_of(record.model_folder(models_root))):
            specs[name] = spec
    return {
        name: selection_of(
            spec.validation,
            records[name].cases or spec.scored,
            [key for start in _starts(name) if start in specs for key in specs[start].validation],
            held_out,
            persons,
            _best_is_last(records[name].model_folder(models_root)),
        )
        for name, spec in specs.items()
    }


def _best_is_last(folder: ModelFolder) -> bool | None:
    summary = folder.summary
    if summary is None or summary.best_epoch is None:
        return None
    return summary.best_epoch == summary.epochs - 1


def _starts(experiment: str) -> list[str]:
    """Return the trainings whose best weights an experiment's training started from."""
    entry = EXPERIMENTS.get(experiment)
    if entry is None or entry.initial is None or not entry.trains:
        return []
    return [entry.initial, *_starts(entry.initial)]


def tracked_runs(digests: set[str]) -> dict[str, TrackedRun]:
    """Find the MLflow run of each training by its digest; nothing where none is tracked."""
    found = {}
    if digests and mlflow.active_run() is not None:
        with never_fatal("the runs behind the report"):
            runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
            tags_of = {run.data.tags.get(KEDRO_RUN_TAG): run.data.tags for run in runs}
            for run in runs:
                tags = run.data.tags
                digest = tags.get(DIGEST_TAG)
                if digest in digests and digest not in found:  # newest first
                    asked_by = [*tags.get(KEDRO_RUN_TAG, "").split(), ""][0]
                    found[digest] = TrackedRun(
                        run=run.info.run_id,
                        url=run_page(run.info),
                        commit=tags.get(GIT_COMMIT, ""),
                        params=tags_of.get(asked_by, {}).get(PARAMS_TAG, ""),
                    )
    return found
