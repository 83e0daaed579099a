"""The reading `per_dataset` of the label table, from raw files to scores."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tsfm_pipeline.evaluation.metrics import score_case
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.inference.case import predict_case
from tsfm_pipeline.inference.export import OriginalGrid
from tsfm_pipeline.inference.model import load_model
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import AugmentationSettings, TrainingSettings
from tsfm_pipeline.phantom.generate import generate_phantoms
from tsfm_pipeline.phantom.settings import PhantomSettings
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.training.loop import train
from tsfm_pipeline.training.losses import RegionLoss, combine, region_ids
from tsfm_pipeline.training.task import TrainingTask
from tsfm_pipeline.workers import WorkerSettings

BASE = Path(__file__).parents[2] / "conf" / "base"
SOURCES = Datasets.model_validate(
    yaml.safe_load((BASE / "parameters_datasets.yml").read_text())["datasets"]
).root
LABELS = yaml.safe_load((BASE / "parameters_labels.yml").read_text())["labels"]
MERGED = LabelTable.model_validate(LABELS)
TABLE = LabelTable.model_validate(LABELS | {"reading": "per_dataset"})
CASES = {"msd_liver": 1, "amos22": 3, "btcv": 1}
SPACING = PreparationSettings(target_spacing=(9.0, 9.0, 9.0))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaseStore]:
    """The same phantoms prepared in both readings."""
    folder = tmp_path_factory.mktemp("readings")
    root = folder / "phantom"
    generate_phantoms(PhantomSettings(cases=CASES, spacing_scale=2.0), root, WorkerSettings(jobs=1))
    index = build_case_index(SOURCES, list(CASES), root)
    stores = {name: CaseStore(folder / name) for name in ("merged", "per_dataset")}
    for _, row in index.iterrows():
        case = case_from_row(row)
        for name, table in (("merged", MERGED), ("per_dataset", TABLE)):
            prepare_case(case, SOURCES[case.dataset], table, SPACING, stores[name])
    return stores


def task_of(store: CaseStore) -> TrainingTask:
    annotated = {name for key in store.keys() for name in store.record(key).annotated}
    regions = TABLE.regions_annotated_by(sorted(annotated))
    settings = TrainingSettings(
        size="tiny",
        patch=(16, 16, 16),
        iterations_per_epoch=2,
        epochs=1,
        augmentation=AugmentationSettings(transforms="light"),
        workers=0,
        device="cpu",
    )
    return TrainingTask(
        name="apart",
        settings=settings,
        store=store.root,
        training=tuple(store.keys()),
        validation=(),
        table=TABLE,
        regions=regions,
    )


def test_stored_maps_differ_by_the_name_of_the_target_alone(stores) -> None:
    apart = {value: name for name, value in TABLE.targets.items()}
    for key in stores["merged"].keys():
        one, other = (stores[name].read_labels(key) for name in ("merged", "per_dataset"))
        dataset = stores["merged"].record(key).dataset
        lookup = {OUTSIDE: OUTSIDE, 0: 0}
        for value in set(np.unique(other)) - set(lookup):
            owner, _, target = apart[value].partition("/")
            assert owner == dataset
            lookup[value] = MERGED.id_of(target)
        np.testing.assert_array_equal(np.vectorize(lookup.get)(other), one)


def test_every_case_is_supervised_on_its_own_channels(stores) -> None:
    task = task_of(stores["per_dataset"])
    assert len(task.regions) == 2 + 15 + 13
    ids_KM = region_ids(TABLE, task.regions)
    for key, record in task.records().items():
        annotated_BK = torch.tensor([[name in task.annotated(record) for name in task.regions]])
        labels_BDHW = torch.from_numpy(task.cases.read_labels(key))[None]
        logits = torch.zeros(1, len(task.regions), *labels_BDHW.shape[1:], requires_grad=True)
        loss = RegionLoss(ids_KM)
        terms = loss.terms([logits], labels_BDHW, annotated_BK)
        combine(loss, terms.entropy_L, terms.counts_L2K).backward()
        learning = logits.grad.abs().sum(dim=(0, 2, 3, 4)) > 0
        names = [name for name, on in zip(task.regions, learning, strict=True) if on]
        exceptions = 2 if record.modality == "MR" else 0  # AMOS: bladder, prostate or uterus
        expected = {"msd_liver": 2, "amos22": 15 - exceptions, "btcv": 13}[record.dataset]
        assert len(names) == expected, key
        assert {name.partition("/")[0] for name in names} == {record.dataset}


def test_it_trains_predicts_and_scores_under_plain_names(stores, tmp_path) -> None:
    store = stores["per_dataset"]
    task = task_of(store)
    train(task, tmp_path / "model", lambda step, metrics: None)
    model = load_model(ModelFolder(tmp_path / "model"), "final", "cpu")
    assert model.card.table == TABLE
    assert tuple(model.card.regions) == tuple(task.regions)
    assert model.network(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 30

    (key,) = [key for key in store.keys() if key.startswith("msd_liver/")]
    record = store.record(key)
    regions = task.annotated(record)
    grid, settings = OriginalGrid.of(record), InferenceSettings()
    labels = predict_case(model, store.read_image(key), "CT", grid, regions, settings)
    assert set(np.unique(labels)) <= {0, 1, 2}  # the dataset's own integers
    reference = np.zeros(record.uncropped_shape, np.uint8)
    scoring = EvaluationSettings(tumor_targets=("*_tumor",))
    rows = score_case(reference, labels, regions, TABLE, record.uncropped_spacing, scoring)
    assert [row["target"] for row in rows] == ["liver", "liver_tumor", "liver (label alone)"]
