"""What the experiments left beside their scores: model records, and their MLflow runs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd

from tsfm_pipeline.experiments.grid import EXPERIMENTS
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.experiments.progress import spec_of
from tsfm_pipeline.model.folder import Weights
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.reporting.provenance import Origin
from tsfm_pipeline.reporting.selection import Selection, selection_of
from tsfm_pipeline.tracking.pages import run_page
from tsfm_pipeline.tracking.problem import never_fatal
from tsfm_pipeline.tracking.runs import KEDRO_RUN_TAG, PARAMS_TAG
from tsfm_pipeline.tracking.source import GIT_COMMIT
from tsfm_pipeline.tracking.trainings import DIGEST_TAG

ENVIRONMENT_TAG = "environment"


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


def predicted_files(
    predictions_root: Path, experiments: Iterable[str], weights: Weights = "best"
) -> dict[tuple[str, str], Path]:
    """Find what experiments predicted, as the catalogue's `..._predictions` list it.

    Returns:
        (experiment, key of the case) -> predicted file or folder.
    """
    found = {}
    for name in experiments:
        table = predictions_root / f"{name.replace('.', '_')}_predictions.parquet"
        if table.is_file():
            rows = pd.read_parquet(table)
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
    untracked = TrackedRun(params=kedro_tag(PARAMS_TAG))
    found = {}
    for name in {**pools, **records}:
        record = records.get(name)
        if record is None or record.status != "finished":
            found[name] = Origin(pool=pools.get(name, ""), params=untracked.params)
            continue
        summary = record.model_folder(models_root).summary
        run = tracked.get(record.digest, untracked)
        found[name] = Origin(
            digest=record.digest,
            folder=record.folder,
            epochs=record.epochs,
            hours=None if summary is None else summary.seconds / 3600,
            pool=pools.get(name, ""),
            commit=run.commit,
            run=run.run,
            run_url=run.url,
            params=run.params,
        )
    return found


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
        )
        for name, spec in specs.items()
    }


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


def kedro_tag(tag: str) -> str:
    """Return a tag of the open run; empty where none is tracked."""
    run = mlflow.active_run()
    return "" if run is None else run.data.tags.get(tag, "")
