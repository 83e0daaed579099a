"""`tsfm-pipeline networks`: every network that can be named has its line."""

import tomllib
from pathlib import Path

import pytest

from tsfm_pipeline.commands import networks
from tsfm_pipeline.network import extras, sizes
from tsfm_pipeline.network.sizes import NETWORKS
from tsfm_pipeline.planning import network_table
from tsfm_pipeline.planning.network_table import KNOWN_FOR


def test_every_registered_network_is_known_for_something() -> None:
    assert set(KNOWN_FOR) == set(NETWORKS)


def test_published_counts_are_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = {"tsfm": ["tiny"], "nnunet": ["base"], "stunet": ["huge"], "swinunetr": ["base"]}
    monkeypatch.setattr(sizes, "NETWORKS", some)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert networks.main([]) == 0
    printed = capsys.readouterr().out
    lines = {tuple(line.split()[:2]): line for line in printed.splitlines() if line}
    tsfm, unet, stunet = (lines[key] for key in list(lines)[1:4])
    assert "1,688,790" in tsfm
    assert "30,785,374" in unet
    assert "13,530" in unet
    assert "1,457,023,401" in stunet
    assert "128x128x128" in stunet
    assert "not installed" in lines["swinunetr", "base"]
    assert 'pip install "tsfm-pipeline[baselines]"' in printed


def test_training_memory_of_the_papers_network() -> None:
    """Weights, gradients, momentum, half-precision weights; two samples' maps (test_footprint)."""
    row = network_table.network_row("tsfm", "huge")
    states = 14 * (1_566_908_574 + 23_100)
    assert row.training_gib == pytest.approx((states + 2 * 2 * row.cost.kept_values) / 2**30)
    assert row.training_gib > 80


def test_sam_med3d_is_counted() -> None:
    pytest.importorskip("medim")
    row = network_table.sam_med3d_row()
    assert row.cost.parameters == pytest.approx(100.51e6, rel=1e-4)
    # its transformer alone: 12 layers on 8^3 tokens of width 768, 12 width^2 weights each
    assert row.cost.forward_flops > 2 * 12 * 12 * 768**2 * 8**3
    line = networks.line_of("sam_med3d", "vit_b", row)
    assert line.split()[2] == "128x128x128"
    assert line.endswith(" -")


def test_a_size_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert networks.main(["--diagram", "tiny"]) == 0
    assert capsys.readouterr().out.startswith("flowchart")
    with pytest.raises(SystemExit):
        networks.main(["--diagram", "enormous"])
    assert "TSFM has tiny, small" in capsys.readouterr().err


def test_the_development_environment_has_every_network() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras_of = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(extras_of["baselines"]) <= set(extras_of["dev"])
