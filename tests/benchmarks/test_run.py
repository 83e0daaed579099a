"""`make benchmarks`: figures of scripts become results and page; what is absent is said."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = """
import sys
from figures import Figure, hand_over
hand_over(Figure("reading", "s", 0.5, "other", 2.0, 1.25))
hand_over(Figure("alone", "MB", 12345.6))
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, repository: Path, tmp_path: Path) -> ModuleType:
    """benchmarks/run.py, in a project of its own."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import run as module

    monkeypatch.setenv("PYTHONPATH", str(repository / "benchmarks"), prepend=":")
    (tmp_path / "docs").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(module, "PROJECT", tmp_path)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


@pytest.fixture
def main(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        return int(run.main())

    return call


def results_of(project: Path) -> dict[str, Any]:
    (path,) = (project / "results").glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())["benchmarks"]
    return found


def test_figures_reach_results_and_page(
    run: ModuleType, main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = run.Benchmark("Reading", ("planning.md",), ("script.py", "0"))
    request = run.Benchmark("Long", (), ("script.py", "0"), on_request=True, picture="long.svg")
    monkeypatch.setattr(run, "BENCHMARKS", {"usual": usual, "request": request})
    assert main() == 0
    assert list(results_of(tmp_path)) == ["usual"]
    page = (tmp_path / "docs/benchmarks.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| reading"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["reading", "s", "0.5", "other", "2", "4", "1.25", "-"]
    assert "12,346" in page
    assert "`python script.py 0`" in page
    assert "[planning.md](planning.md)" in page

    assert main("--only", "request") == 0  # the other's figures are kept
    assert list(results_of(tmp_path)) == ["usual", "request"]
    assert "![Long](long.svg)" in (tmp_path / "docs/benchmarks.md").read_text()


def test_what_is_absent_is_left_out_with_a_reason(
    run: ModuleType, main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = run.Benchmark("Real scans", (), ("script.py", "0"), real=True)
    peer = run.Benchmark("Beside nnU-Net", (), ("script.py", "0"), peer=run.NNUNET)
    monkeypatch.setattr(run, "BENCHMARKS", {"real": real, "peer": peer})
    monkeypatch.setenv(run.REAL_DATA, str(tmp_path / "absent"))
    assert main() == 0
    found = results_of(tmp_path)
    assert found["real"]["figures"] == []
    assert "TSFM_REALDATA names no folder" in found["real"]["left_out"]
    assert run.NNUNET[0] not in found["peer"]["command"]
    assert "make nnunet" in found["peer"]["peer_left_out"]
    page = (tmp_path / "docs/benchmarks.md").read_text()
    assert found["real"]["left_out"] in page
    assert found["peer"]["peer_left_out"] in page


def test_a_failed_script_is_told_and_keeps_what_it_had_measured(
    run: ModuleType, main: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing = run.Benchmark("Failing", (), ("script.py", "3"))
    sound = run.Benchmark("Sound", (), ("script.py", "0"))
    monkeypatch.setattr(run, "BENCHMARKS", {"failing": failing, "sound": sound})
    assert main() == 1
    found = results_of(tmp_path)
    assert found["failing"]["failed"] == "exit status 3"
    assert len(found["failing"]["figures"]) == len(found["sound"]["figures"]) == 2
    assert "**The script failed**: exit status 3" in (tmp_path / "docs/benchmarks.md").read_text()


def test_nothing_is_handed_over_outside_a_run(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(run.FILE, raising=False)
    from figures import Figure, hand_over

    hand_over(Figure("x", "s", 1.0))
    monkeypatch.setenv(run.FILE, str(tmp_path / "handed_over"))
    hand_over(Figure("x", "s", 1.0))
    assert len((tmp_path / "handed_over").read_text().splitlines()) == 1


def test_every_benchmark_names_what_is_there(run: ModuleType, repository: Path) -> None:
    for benchmark in run.BENCHMARKS.values():
        assert all((repository / "docs" / page).exists() for page in benchmark.pages)
        script = benchmark.command[0]
        if script == "-m":
            script = benchmark.command[1].replace(".", "/") + ".py"
        assert (repository / script).exists()


@pytest.mark.parametrize(
    ("shape", "patch", "item_bytes", "blocks", "chunks"),
    [
        ((1, 200, 410, 410), (112, 160, 192), 4, (1, 32, 32, 32), (1, 96, 128, 128)),
        ((1, 200, 410, 410), (112, 160, 192), 1, (1, 32, 64, 64), (1, 128, 192, 256)),
        ((2, 31, 640, 320), (20, 256, 224), 4, (1, 8, 64, 64), (1, 24, 256, 256)),
        ((4, 155, 240, 240), (128, 128, 128), 4, (1, 32, 32, 32), (1, 96, 128, 128)),
        ((1, 9, 40, 600), (40, 56, 40), 2, (1, 9, 40, 64), (1, 9, 40, 64)),
    ],
)
def test_storage_is_chunked_as_nnunet_v2_does(
    run: ModuleType,
    shape: tuple[int, ...],
    patch: tuple[int, int, int],
    item_bytes: int,
    blocks: tuple[int, ...],
    chunks: tuple[int, ...],
) -> None:
    from nnunetv2_storage import blocks_and_chunks

    # printed by comp_blosc2_params of nnunetv2 2.8.1
    assert blocks_and_chunks(shape, patch, item_bytes) == (blocks, chunks)
