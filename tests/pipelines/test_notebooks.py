"""The notebooks' code runs on a finished project, cell by cell; no Jupyter is needed for that."""

import ast
import json
from pathlib import Path

import matplotlib
import pytest
from IPython.display import Image

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def run_cell(source: str, namespace: dict[str, object]) -> object:
    """Run a cell as Jupyter does; return the value of a last line that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run_in_order(
    path: Path, phantom_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(phantom_project)
    monkeypatch.setenv("KEDRO_ENV", "test")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    matplotlib.use("agg")
    namespace: dict[str, object] = {}
    for number, source in enumerate(code_cells(path)):
        value = run_cell(source, namespace)
        if isinstance(value, Image):
            assert value.data.startswith(b"\x89PNG"), f"cell {number}"


def test_there_are_four_without_outputs() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            assert cell.get("outputs", []) == [], f"{path.name}: strip its outputs"
            assert cell.get("execution_count") is None, f"{path.name}: strip its outputs"
