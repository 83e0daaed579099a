"""The terminal hears of stages and of what was trained, once each."""

import logging

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Node, Pipeline

from tsfm_pipeline.catalog import RecordDataset
from tsfm_pipeline.experiments.outcome import ModelRecord
from tsfm_pipeline.hooks import TellRunHook
from tsfm_pipeline.hooks.tell_run import news


def record(name, status="finished", epochs=1) -> ModelRecord:
    return ModelRecord(experiment=name, status=status, epochs=epochs)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([], [], ""),
        ([], [record("a")], "Experiments: 1 trained now (a)"),
        ([record("a")], [record("a")], "Experiments: 1 finished before"),
        ([record("a")], [record("a", epochs=2)], "Experiments: 1 trained now (a)"),
        (
            [record("a"), record("b", "failed")],
            [record("a"), record("b", "failed"), record("c", "not run"), record("d", "not run")],
            "Experiments: 1 finished before, 1 failed, 2 not run",
        ),
        (
            [],
            [record("a"), record("b", "needs checkpoint")],
            "Experiments: 1 trained now (a), 1 need a checkpoint",
        ),
        (
            [],
            [record(name) for name in "abcde"],
            "Experiments: 5 trained now (a, b, c, ...)",
        ),
    ],
)
def test_the_news_count_what_is_new(before, after, said) -> None:
    as_read = ({each.experiment: each for each in records} for records in (before, after))
    assert news(*as_read) == said


def test_a_stage_is_told_when_its_first_step_starts(tmp_path, caplog) -> None:
    nodes = [
        Node(lambda: None, None, "model", name="train", namespace="pretrain.tsfm"),
        Node(lambda: None, None, "more", name="predict", namespace="pretrain.tsfm"),
        Node(lambda: None, None, "table", name="write", namespace="reporting"),
        Node(lambda: None, None, "volumes", name="segment"),
    ]
    pipeline = Pipeline(nodes)
    models = RecordDataset(
        filepath=str(tmp_path / "model.json"),
        model="tsfm_pipeline.experiments.outcome.ModelRecord",
    )
    catalog = DataCatalog({"model": models})
    hook = TellRunHook()
    with caplog.at_level(logging.INFO):
        hook.before_pipeline_run(pipeline, catalog)
        for node in nodes:
            hook.before_node_run(node)
        catalog.save("model", record("pretrain.tsfm"))
        hook.after_pipeline_run(pipeline, catalog)
        hook.before_pipeline_run(pipeline, catalog)
        hook.after_pipeline_run(pipeline, catalog)
    assert caplog.messages == [
        "pretrain: 2 steps",
        "reporting: 1 steps",
        "Experiments: 1 trained now (pretrain.tsfm)",
        "Experiments: 1 finished before",
    ]


def test_a_damaged_record_counts_as_trained_anew(tmp_path, caplog) -> None:
    path = tmp_path / "model.json"
    path.write_text("{")
    catalog = DataCatalog(
        {
            "model": RecordDataset(
                filepath=str(path), model="tsfm_pipeline.experiments.outcome.ModelRecord"
            )
        }
    )
    pipeline = Pipeline([Node(lambda: None, None, "model", name="train")])
    hook = TellRunHook()
    with caplog.at_level(logging.INFO):
        hook.before_pipeline_run(pipeline, catalog)
        catalog.save("model", record("a"))
        hook.after_pipeline_run(pipeline, catalog)
    assert caplog.messages == ["Experiments: 1 trained now (a)"]
