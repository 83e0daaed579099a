"""From a model to files in the datasets' own label values, and from those to scores."""

import errno
import gzip
import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.experiments import prediction_run, scoring_run
from tsfm_pipeline.experiments.outcome import ModelRecord, Outcome, collect_statuses
from tsfm_pipeline.experiments.postprocessing_run import sample
from tsfm_pipeline.experiments.prediction_run import PREDICTIONS_SCHEMA, run_prediction
from tsfm_pipeline.experiments.scoring_run import run_scoring
from tsfm_pipeline.imaging.intensity import CtStatistics
from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.inference.model import SegmentationModel
from tsfm_pipeline.inference.postprocessing import PostprocessingRule
from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.machine import MachineError
from tsfm_pipeline.model.card import ModelCard
from tsfm_pipeline.model.folder import ModelFolder
from tsfm_pipeline.model.training_settings import TrainingSettings
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.preparation.prepare import prepare_case
from tsfm_pipeline.preparation.settings import PreparationSettings
from tsfm_pipeline.sources import Datasets
from tsfm_pipeline.sources.case_index import build_case_index, case_from_row
from tsfm_pipeline.sources.msd import MsdSource
from tsfm_pipeline.sources.totalsegmentator import TotalSegmentatorSource
from tsfm_pipeline.store.case_store import CaseStore
from tsfm_pipeline.workers import WorkerSettings

TABLE = LabelTable(
    targets={"spleen": 1, "liver": 5, "aorta": 7, "liver_tumor": 25},
    regions={"liver": ("liver", "liver_tumor")},
)
REGIONS = ("liver", "liver_tumor", "spleen")  # the model has not learned the aorta
ONE_WORKER = WorkerSettings(jobs=1)
SCORING = EvaluationSettings(tumor_targets=("*_tumor",))
SOURCES = Datasets(
    {
        # other values than the fused table's, and two that mean the same
        "plain": MsdSource(folder="plain", labels={3: "liver", 4: "liver", 9: "liver_tumor"}),
        "whole": TotalSegmentatorSource(
            folder="whole", labels={"spleen": "spleen", "liver": "liver", "aorta": "aorta"}
        ),
    }
).root
CASES = {"plain": ("a", "b", "c"), "whole": ("s0001", "s0002")}
TRAINING = ("plain/a", "plain/b", "whole/s0001")
SPECKLE = (slice(10, 11), slice(14, 15), slice(14, 15))


class Oracle(torch.nn.Module):
    """Reads the label from the CT number (10 times the label), and takes 60 for liver, too."""

    def forward(self, tiles_BCDHW):
        ids = (tiles_BCDHW[:, 0] / 10).round().long()
        ids = torch.where(ids == 6, 5, ids)
        channels = [torch.isin(ids, torch.tensor(TABLE.region_ids(region))) for region in REGIONS]
        return torch.stack(channels, dim=1).float() * 20 - 10


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.T.astype(np.int16), np.diag([1.0, 1.0, 2.0, 1.0])), path)


def labelled(shift: int) -> np.ndarray:
    labels = np.zeros((12, 16, 16), np.uint8)
    labels[2:8, 2 + shift : 9 + shift, 3:9] = 5
    labels[3:5, 4 + shift : 6 + shift, 4:7] = 25
    labels[2:5, 12:15, 3:9] = 1
    labels[8:11, 2:4, 10:13] = 7
    return labels


@pytest.fixture
def setting(tmp_path, monkeypatch):
    """Raw files of both datasets, prepared, and an oracle in place of any loaded model."""
    raw = tmp_path / "raw"
    for number, (dataset, case) in enumerate((d, c) for d, cases in CASES.items() for c in cases):
        labels = labelled(number)
        image = labels.astype(np.int16) * 10 - 20 * (labels == 0)
        image[SPECKLE] = 60
        if dataset == "plain":
            write(raw / "plain" / "imagesTr" / f"{case}.nii.gz", image)
            values = np.select([labels == 5, labels == 25], [3, 9], 0).astype(np.uint8)
            values[(labels == 5) & (np.indices(labels.shape)[2] > 5)] = 4
            write(raw / "plain" / "labelsTr" / f"{case}.nii.gz", values)
        else:
            write(raw / "whole" / case / "ct.nii.gz", image)
            for name, ids in (("spleen", (1,)), ("liver", (5, 25)), ("aorta", (7,))):
                mask = np.isin(labels, ids).astype(np.uint8)
                write(raw / "whole" / case / "segmentations" / f"{name}.nii.gz", mask)
    header = {
        "modality": {"0": "CT"},
        "training": [
            {"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"}
            for case in CASES["plain"]
        ],
    }
    (raw / "plain" / "dataset.json").write_text(json.dumps(header))
    index = build_case_index(SOURCES, list(SOURCES), raw)
    store = CaseStore(tmp_path / "store")
    for _, row in index.iterrows():
        case = case_from_row(row)
        prepare_case(
            case, SOURCES[case.dataset], TABLE, PreparationSettings(target_spacing=None), store
        )
    card = ModelCard(
        name="m",
        network=SIZES["tiny"],
        in_channels=1,
        regions=REGIONS,
        table=TABLE,
        patch=(8, 8, 8),
        ct_statistics=CtStatistics(lower=-1000, upper=3000, mean=0, sd=1),
        target_spacing=None,
        settings=TrainingSettings(),
        training=TRAINING,
        validation=("plain/c", "whole/s0002"),
        initial_weights=None,
        pool_digest="",
    )
    model = SegmentationModel(Oracle(), card, torch.device("cpu"))
    monkeypatch.setattr(prediction_run, "load_model", lambda folder, weights: model)
    for weights in ("best", "final"):
        (tmp_path / "models" / "m").mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / "m" / f"{weights}.safetensors").write_bytes(weights.encode())
    record = ModelRecord(
        experiment="e", status="finished", folder="m", digest="d", pool_version="1a2b3c4d"
    )

    def run(cases=(), **settings) -> tuple[pd.DataFrame, Outcome]:
        return run_prediction(
            record.model_copy(update={"cases": cases}),
            InferenceSettings(**settings),
            SOURCES,
            store,
            tmp_path / "models",
            tmp_path / "predictions",
        )

    return run, index, tmp_path


def score(rows, outcome, index, folder: Path, **given) -> tuple[pd.DataFrame, Outcome]:
    sources = given.get("sources", SOURCES)
    root = folder / "predictions"
    return run_scoring(rows, outcome, index, sources, TABLE, SCORING, root, ONE_WORKER)


def read(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).T


def test_files_hold_the_datasets_targets_in_its_values(setting) -> None:
    run, _, folder = setting
    rows, outcome = run()
    assert (outcome.experiment, outcome.stage, outcome.status) == ("e", "prediction", "finished")
    assert len(rows) == 4  # two cases, best and final
    plain, whole = (folder / "predictions" / row["file"] for _, row in rows[:2].iterrows())
    assert plain.parts[-3:] == ("best", "plain", "c.nii.gz")
    labels = labelled(2)
    found = read(plain)
    expected = np.select([labels == 5, labels == 25], [3, 9], 0)  # the lower of 3 and 4
    expected[SPECKLE] = 3
    np.testing.assert_array_equal(found, expected)

    assert whole.parts[-4:] == ("best", "whole", "s0002", "segmentations")
    labels = labelled(4)
    assert {path.name for path in whole.iterdir()} == {"liver.nii.gz", "spleen.nii.gz"}
    liver = np.isin(labels, (5, 25))
    liver[SPECKLE] = True
    np.testing.assert_array_equal(read(whole / "liver.nii.gz") > 0, liver)
    np.testing.assert_array_equal(read(whole / "spleen.nii.gz") > 0, labels == 1)


def test_what_is_written_is_scored_in_fused_targets_and_made_once(setting) -> None:
    run, index, folder = setting
    rows, outcome = run()
    scores, scored = score(rows, outcome, index, folder)
    assert (scored.experiment, scored.stage, scored.status) == ("e", "scoring", "finished")
    assert outcome.pool_version == scored.pool_version == "1a2b3c4d"
    dice = scores[scores["weights"] == "best"].set_index(["dataset", "target"])["dice"]
    assert dice["plain", "liver_tumor"] == dice["whole", "spleen"] == 1
    assert 0.99 < dice["plain", "liver"] < 1  # the speckle
    assert set(dice.index) == {
        ("plain", "liver"),
        ("plain", "liver (label alone)"),
        ("plain", "liver_tumor"),
        ("whole", "liver"),
        ("whole", "spleen"),
    }
    made = {p: p.stat().st_mtime_ns for p in (folder / "predictions").rglob("*.nii.gz")}
    assert run()[0].equals(rows)
    assert {p: p.stat().st_mtime_ns for p in (folder / "predictions").rglob("*.nii.gz")} == made
    assert run(tile_batch=3)[0]["file"].equals(rows["file"])  # changes nothing
    assert not run(step=0.4)[0]["file"].isin(rows["file"]).any()


def test_a_test_case_is_predicted_alone_and_anew_when_it_changes(setting, monkeypatch) -> None:
    run, _, _ = setting
    rows, _ = run(cases=("plain/a",))  # the card's validation cases are two others
    assert set(rows["key"]) == {"plain/a"}
    assert run(cases=("plain/a",))[0].equals(rows)
    known = CaseStore.record
    changed = {"raw_digest": "other bytes"}
    monkeypatch.setattr(
        CaseStore, "record", lambda store, key: known(store, key).model_copy(update=changed)
    )
    # of validation cases the digest of the training speaks already
    assert not run(cases=("plain/a",))[0]["file"].isin(rows["file"]).any()


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 9])
def test_a_damaged_file_is_predicted_again(setting, caplog, damage) -> None:
    run, _, root = setting
    rows, _ = run()
    files = sorted((root / "predictions").rglob("*.nii.gz"))
    before = {file: file.read_bytes() for file in files}
    plain = next(file for file in files if "plain" in file.parts)
    mask = next(file for file in files if "whole" in file.parts)
    for file in (plain, mask):
        file.write_bytes(damage(before[file]))
    pd.testing.assert_frame_equal(run()[0], rows)
    for file in files:
        np.testing.assert_array_equal(
            read(file), nib.Nifti1Image.from_bytes(gzip.decompress(before[file])).get_fdata().T
        )
    assert f"{plain} is damaged, predicted again" in caplog.text


def test_a_rule_is_decided_on_training_cases_recorded_and_applied(setting) -> None:
    run, index, folder = setting
    rows, outcome = run(postprocessing_cases=2)
    scores, _ = score(rows, outcome, index, folder)
    assert (scores["dice"] == 1).all()
    path = ModelFolder(folder / "models" / "m").rule("best")
    rule = PostprocessingRule.model_validate_json(path.read_bytes())
    assert rule.cases == TRAINING
    assert rule.regions == ("liver",)
    assert not rule.all_foreground  # two datasets, other regions
    evidence = {row.region: row for row in rule.evidence}
    assert evidence["liver"].cases == 3
    assert evidence["liver"].before < evidence["liver"].after == 1
    made = path.stat().st_mtime_ns
    run(postprocessing_cases=2)
    assert path.stat().st_mtime_ns == made
    run(postprocessing_cases=1)
    assert path.stat().st_mtime_ns != made
    assert (
        not run()[0]["file"].isin(rows["file"]).any()
    )  # without the rule it is another prediction


def test_the_sample_is_spread_over_each_dataset() -> None:
    keys = [f"a/{number:02d}" for number in range(11)] + ["b/0"]
    assert sample(keys[::-1], 3) == ("a/00", "a/05", "a/10", "b/0")
    assert sample(keys, 100) == tuple(keys)
    assert sample(keys, 1) == ("a/00", "b/0")


@pytest.mark.parametrize("status", ["finished", "failed", "not run"])
def test_no_usable_model_gives_no_files_and_no_error(status, tmp_path: Path, caplog) -> None:
    record = ModelRecord(
        experiment="pretrain.tsfm", status=status, reason="no data", folder="absent", digest="d"
    )
    with caplog.at_level(logging.ERROR):
        rows, outcome = run_prediction(
            record,
            InferenceSettings(),
            {},
            CaseStore(tmp_path / "store"),
            tmp_path / "models",
            tmp_path / "predictions",
        )
    assert list(rows.columns) == PREDICTIONS_SCHEMA.names
    assert rows.empty
    # only a model that should be there is worth an error, and an outcome of its own
    assert ("Prediction of pretrain.tsfm failed" in caplog.text) == (status == "finished")
    assert "Traceback" not in caplog.text  # the line says it all
    if status == "finished":
        assert (outcome.stage, outcome.status) == ("prediction", "failed")
        assert "has no usable model.json" in outcome.reason
    else:
        assert outcome == Outcome(
            experiment="pretrain.tsfm", stage="training", status=status, reason="no data"
        )
    assert not (tmp_path / "predictions").exists()


def test_a_case_that_fails_leaves_nothing_to_score_and_a_failed_experiment(
    setting, monkeypatch
) -> None:
    run, index, folder = setting
    real = prediction_run.write_targets

    def full_disk(path, *arguments) -> None:
        if "whole" in path.parts:
            raise OSError("No space left on device")
        real(path, *arguments)

    monkeypatch.setattr(prediction_run, "write_targets", full_disk)
    rows, outcome = run()
    assert outcome == Outcome(
        experiment="e",
        stage="prediction",
        status="failed",
        reason="whole/s0002: OSError: No space left on device",
        pool_version="1a2b3c4d",
    )
    assert rows.empty  # plain/c was predicted, and a mean without whole/s0002 would mislead
    scores, scored = score(rows, outcome, index, folder)
    assert scores.empty
    assert scored == outcome
    others = ModelRecord(
        experiment="b", status="not run", reason="no data", pool_version="5e6f7a8b"
    )
    statuses = collect_statuses(scored, others).set_index("experiment")
    assert statuses.loc["e", "status"] == "failed"
    assert statuses.loc["e", "reason"] == (
        "prediction failed: whole/s0002: OSError: No space left on device"
    )
    assert statuses.loc["e", "pool_version"] == "1a2b3c4d"
    assert tuple(statuses.loc["b"]) == ("not run", "no data", "5e6f7a8b")
    monkeypatch.undo()


def test_a_fault_of_the_machine_is_no_outcome_of_an_experiment(setting, monkeypatch) -> None:
    run, index, folder = setting
    rows, outcome = run()
    full = OSError(errno.ENOSPC, "No space left on device", "/pool/case.nii.gz")

    def full_disk(*arguments, **others) -> None:
        raise full

    monkeypatch.setattr(scoring_run, "run_cases", full_disk)
    with pytest.raises(MachineError, match=r"/pool/case\.nii\.gz: .* free some space"):
        score(rows, outcome, index, folder)
    monkeypatch.setattr(prediction_run, "write_targets", full_disk)
    with pytest.raises(MachineError, match="the same command goes on"):
        run(step=0.4)


def test_a_scoring_that_fails_is_logged_and_recorded(setting, caplog) -> None:
    run, index, folder = setting
    rows, outcome = run()
    (folder / "predictions" / rows["file"].iat[0]).write_bytes(b"damaged")
    scores, scored = score(rows, outcome, index, folder)
    assert scores.empty  # whole/s0002 could be scored, and a mean without plain/c would mislead
    assert (scored.experiment, scored.stage, scored.status) == ("e", "scoring", "failed")
    assert scored.pool_version == "1a2b3c4d"
    assert scored.reason.startswith("plain/c: ")
    assert "Scoring of e failed" in caplog.text
    assert collect_statuses(scored)["reason"].iat[0] == f"scoring failed: {scored.reason}"

    gone = {"whole": SOURCES["whole"]}  # an error of another kind
    scores, scored = score(rows, outcome, index, folder, sources=gone)
    assert scores.empty
    assert scored.reason == "KeyError: 'plain'"


def test_a_record_of_earlier_versions_is_read() -> None:
    stored = {
        "experiment": "pretrain.tsfm",
        "status": "finished",
        "reason": "",
        "folder": "pretrain.tsfm/0123",
        "digest": "0123",
        "epochs": 24,
    }
    assert ModelRecord.model_validate_json(json.dumps(stored)).stage == "training"
