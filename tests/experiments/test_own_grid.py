"""Datasets and experiments that a user adds in conf/grid.yml."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tsfm_pipeline.experiments.grid import GRID, check_grid
from tsfm_pipeline.experiments.own_grid import GridError, OwnGrid, read_own_grid

OWN = """
downstream: [thyroid]
experiments:
  - name: own.thyroid_swin
    role: transfer
    method: swinunetr
    datasets: [thyroid]
    budget: epoch10
"""


def write(folder: Path, text: str) -> Path:
    (folder / "conf").mkdir()
    path = folder / "conf/grid.yml"
    path.write_text(text)
    return path


def test_a_dataset_of_ones_own_is_transferred_to_like_the_papers(tmp_path: Path) -> None:
    write(tmp_path, OWN)
    inner = tmp_path / "notebooks"
    inner.mkdir()
    code = """
import json
from tsfm_pipeline.experiments.grid import GRID
from tsfm_pipeline.experiments.comparisons import COMPARISONS
from tsfm_pipeline.pipeline_registry import register_pipelines
pipelines = register_pipelines()
nodes = {node.name for node in pipelines["__default__"].nodes}
print(json.dumps({
    "grid": [entry.name for entry in GRID],
    "nodes": sorted(nodes),
    "own": sorted(node.name for node in pipelines["own"].nodes if node.name.endswith(".train")),
    "pairs": COMPARISONS,
}))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=inner,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    paper = {entry.name for entry in GRID}
    renamed = {name.replace("kits19", "thyroid") for name in paper if "kits19" in name}
    assert set(found["grid"]) == paper | renamed | {"own.thyroid_swin"}
    assert {f"{name}.train" for name in found["grid"]} <= set(found["nodes"])
    assert "own.thyroid_swin.train" in found["own"]
    pair = ["transfer.thyroid.pretrained.epoch10", "transfer.thyroid.scratch.epoch10"]
    assert pair in found["pairs"]


def test_the_projects_own_file_adds_nothing(repository: Path) -> None:
    assert (repository / "conf/grid.yml").is_file()
    assert read_own_grid(repository) == OwnGrid() == read_own_grid(Path("/"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("downstraem: [a]", "downstraem"),
        ("experiments: [{name: transfer.x, role: transfer}]", "has to be named own.SOMETHING"),
        ("experiments: [{name: own.x, role: finetune}]", "role"),
        ("experiments: [{name: own.X-1, role: transfer}]", "name"),
        ("experiments: [{name: own.x, role: transfer, budgt: 1}]", "budgt"),
        ("downstream: [", "grid.yml can't be used"),
        ("- a", "grid.yml can't be used"),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    with pytest.raises(GridError, match=message):
        read_own_grid(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "own.a_b"}, "own.a.b is there twice"),
        ({"name": "own.b", "initial": "own.later"}, "'own.later', which is no experiment"),
        ({"name": "own.b", "budget": "epoch11"}, "budget 'epoch11' is none of epoch10"),
        ({"name": "own.b", "cases": "few3"}, "cases 'few3' is none of few1"),
        ({"name": "own.b", "trains": False}, "name its `initial`"),
    ],
)
def test_a_grid_that_can_t_be_wired_is_refused(changes, message) -> None:
    entry = GRID[0]
    grid = [entry.model_copy(update={"name": "own.a.b"}), entry.model_copy(update=changes)]
    with pytest.raises(GridError, match=message):
        check_grid(grid)
