"""Experiments that the real nnU-Net v2 trains and predicts."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.files import content_digest, write_text
from tsfm_pipeline.model.folder import WEIGHTS, ModelFolder
from tsfm_pipeline.model.training_spec import TrainingSpec
from tsfm_pipeline.nnunetv2 import NnunetTask, run_nnunetv2
from tsfm_pipeline.nnunetv2.dataset import import_labels
from tsfm_pipeline.nnunetv2.engine import Report
from tsfm_pipeline.nnunetv2.task import prediction_of, spec_file
from tsfm_pipeline.preparation.labels import prediction_path
from tsfm_pipeline.sources import Source
from tsfm_pipeline.sources.case_index import case_from_row
from tsfm_pipeline.store.case_store import CaseStore

PredictionRow = tuple[str, ...]
"""Of `prediction_run.PREDICTIONS_SCHEMA`."""


def nnunetv2_digest(spec: TrainingSpec, store: CaseStore) -> str:
    """Digest of everything that decides what nnU-Net v2 trains; the rest is nnU-Net's own."""
    settings = spec.settings
    keys = (*spec.training, *spec.validation, *spec.test)
    return content_digest(
        {
            "engine": "nnunetv2",
            "name": spec.name,
            "epochs": settings.epochs,
            "iterations": [settings.iterations_per_epoch, settings.validation_iterations],
            "targets": spec.table.exclusive_targets(spec.regions),
            "training": spec.training,
            "validation": spec.validation,
            "cases": [store.record(key).raw_digest for key in keys],
        }
    )


def train_nnunetv2(
    spec: TrainingSpec,
    sources: Mapping[str, Source],
    case_index: pd.DataFrame,
    folder: Path,
    python: Path,
    report: Report,
) -> None:
    """Train and predict in a folder, with a line of metrics per epoch as our own trainings have.

    See `nnunetv2.run_nnunetv2`.
    """
    cases = {case.key: case for case in (case_from_row(row) for _, row in case_index.iterrows())}
    dataset = spec.training[0].partition("/")[0]
    wanted = {key: cases[key] for key in (*spec.training, *spec.validation, *spec.test)}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(spec_file(folder), spec.model_dump_json(indent=1))
    curve = ModelFolder(folder).metrics

    def keep(epoch: int, metrics: Mapping[str, float]) -> None:
        with curve.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"epoch": epoch, **metrics}) + "\n")
        report(epoch, metrics)

    run_nnunetv2(NnunetTask(spec, wanted, sources[dataset], folder, python), keep)


def import_predictions(
    record: ModelRecord,
    sources: Mapping[str, Source],
    store: CaseStore,
    models_root: Path,
    predictions_root: Path,
) -> list[PredictionRow]:
    """Bring nnU-Net's predictions into the datasets' own label values; list the files.

    They lie where `run_prediction` puts those of our own models.
    """
    folder = models_root / record.folder
    spec = TrainingSpec.model_validate_json(spec_file(folder).read_bytes())
    targets = spec.table.exclusive_targets(spec.regions)
    rows: list[PredictionRow] = []
    for weights in WEIGHTS:
        for key in spec.scored:
            dataset, case = key.split("/", 1)
            source = sources[dataset]
            place = Path(record.experiment) / record.digest / weights / dataset
            file = prediction_path(place, case, source)
            if not (predictions_root / file).exists():
                labels = prediction_of(folder, weights, case)
                import_labels(labels, predictions_root / file, targets, source, spec.table)
            annotated = spec.table.regions_annotated_by(store.record(key).annotated)
            regions = ",".join(region for region in spec.regions if region in annotated)
            rows.append((record.experiment, weights, key, dataset, case, regions, str(file)))
    return rows
