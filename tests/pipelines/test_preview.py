"""What Kedro-Viz shows beside a training is what the shown environment trains."""

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from tsfm_pipeline.experiments.grid import GRID
from tsfm_pipeline.network.diagram import diagram
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.pipeline_registry import register_pipelines


@pytest.fixture
def drawn(make_project, monkeypatch):
    """Return the drawing beside an experiment's training in an environment."""
    project = make_project()
    monkeypatch.chdir(project)
    bootstrap_project(project)
    trainings = {
        node.namespace: node
        for node in register_pipelines()["__default__"].nodes
        if node.name.endswith(".train")
    }
    assert trainings.keys() == {experiment.name for experiment in GRID}

    def drawing(environment: str, experiment: str) -> str:
        with KedroSession.create(project_path=project, env=environment) as session:
            session.load_context()
            return trainings[experiment].preview().content

    return drawing


def test_a_drawing_shows_method_size_patch_and_budget_of_its_environment(drawn) -> None:
    paper = drawn("paper", "pretrain.tsfm")
    for words in (
        "method tsfm: tsfm huge<br/>1,566.9 million parameters",
        "patch 112 x 160 x 192, batch 2",
        "1000 epochs of 250 steps",
        "starts from scratch",
        "training --- image",
    ):
        assert words in paper
    assert paper.startswith(diagram(SIZES["huge"], 1, 30, (112, 160, 192)))
    test = drawn("test", "transfer.kits19.pretrained.epoch100")
    for words in (
        "method tsfm: tsfm tiny",
        "patch 16 x 16 x 32, batch 2",
        "1 epochs of 2 steps",
        "starts from pretrain.tsfm",
        'image["image<br/>1 channel, 16 x 16 x 32"]',
    ):
        assert words in test


def test_other_methods_are_told_too(drawn) -> None:
    nnunet = drawn("paper", "baseline.nnunet.msd_liver")
    assert "method nnunet: nnunet base<br/>" in nnunet
    assert "from the dataset's plan" in nnunet
    assert "loss softmax" in nnunet
    swinunetr = drawn("paper", "baseline.swinunetr.msd_liver")
    assert "method swinunetr: swinunetr base<br/>62.2 million parameters" in swinunetr
    assert "adamw" in swinunetr
    left_out = drawn("test", "baseline.nnunet.msd_lung")
    assert "not trained: left out in this environment" in left_out
