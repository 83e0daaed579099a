"""The documentation says what the code and the configuration say, and its links lead somewhere."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tsfm_pipeline.parameters import load_parameters

LINK = re.compile(r"\]\(([^)#:]+\.\w+)(?:#[^)]*)?\)")  # to a file, not to another host


@pytest.fixture(scope="module")
def reference(repository: Path) -> ModuleType:
    """The module that writes the page of settings."""
    path = repository / "docs/_hooks/settings_reference.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages(repository: Path) -> list[Path]:
    return [*sorted((repository / "docs").glob("*.md")), *sorted(repository.glob("*.md"))]


def keys_of(tree: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted key of every leaf."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from keys_of(value, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def test_every_key_of_the_configuration_is_on_the_page_of_settings(
    repository: Path, reference: ModuleType
) -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", reference.settings_page(), re.MULTILINE)
    twice = {key for key in documented if documented.count(key) > 1}
    assert all(key.startswith("datasets.") for key in twice), "only layouts differ in a key"
    patterns = []
    for key in documented:
        pattern = re.escape(key).replace("<role>", r"\w+").replace("<name>", r"\w+")
        patterns.append(pattern.replace(r"\[\]", ""))
    allowed = re.compile(rf"({'|'.join(patterns)})(\..*)?")  # a table's own names end the key
    given = set()
    for path in repository.glob("conf/*/parameters*.yml"):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        given |= {key for key in keys_of(tree) if not key.startswith("paper_tables.")}
    assert len(given) > 300
    lists = {key.partition("[]")[0] for key in documented}
    assert [key for key in sorted(given - lists) if not allowed.fullmatch(key)] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `experiments.<role>.training.momentum` | number | `0.99` | Nesterov momentum of sgd. |",
        "| `splits.folds` | whole number | `5` | number of folds (nnU-Net: 5). |",
        "| `datasets.<name>.licence` | text | empty | licence or terms of the data. |",
        "| `pool.paper_cases` | map of text to whole number | empty | our reading of how many cases"
        " of each dataset make up the paper's 2779. |",
    ],
)
def test_a_setting_has_type_default_and_meaning(row: str, reference: ModuleType) -> None:
    assert row in reference.settings_page().splitlines()


def test_the_table_of_datasets_is_the_configurations(repository: Path) -> None:
    text = (repository / "docs/datasets.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[`(\w+)`\]\((\S+)\) \| (.*) \|$", text.replace(r"\*", "*"), re.MULTILINE
    )
    shown = [[name, url, *cells.split(" | ")] for name, url, cells in rows]
    parameters = load_parameters(str(repository / "conf"), "paper")
    pool = parameters.pool
    sources = parameters.datasets.root
    assert shown == [
        [
            name,
            sources[name].url,
            str(sources[name].expected_cases),
            sources[name].licence,
            f"`{sources[name].folder}`",
            sources[name].expects,
        ]
        for name in (*pool.datasets, *pool.downstream)
    ]


def test_links_between_files_lead_somewhere(repository: Path) -> None:
    made = {repository / "docs/settings.md"}  # when the site is built
    dead = [
        f"{page.name}: {link}"
        for page in pages(repository)
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not (target := (page.parent / link).resolve()).exists() and target not in made
    ]
    assert dead == []


def test_every_page_is_in_the_navigation(repository: Path) -> None:
    navigation = (repository / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    missing = [
        path.name
        for path in (repository / "docs").glob("*.md")
        if f": {path.name}\n" not in f"{navigation}\n"
    ]
    assert missing == [], "give it a line in `nav` of mkdocs.yml"


def test_the_site_builds_without_a_warning(repository: Path, tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip("the site needs MkDocs: pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "settings.html").read_text(encoding="utf-8")
    assert "pool.exclude_downstream" in settings
    python = (tmp_path / "python.html").read_text(encoding="utf-8")
    assert "tsfm_pipeline.scans.segment.segment" in python
    assert "on the scan's own grid" in python  # from a docstring


@pytest.mark.parametrize(
    ("copied", "environment", "dataset", "size", "epochs"),
    [
        ("paper", "paper_thyroid", "thyroid", "huge", (10, 100)),
        ("hippocampus", "hippocampus_thyroid", "thyroid", "small6", (10, 100)),
        (None, "demo_hippocampus", "hippocampus", "tiny", (2, 5)),
    ],
)
def test_the_documented_environments_transfer_to_a_dataset_of_ones_own(
    copied: str | None,
    environment: str,
    dataset: str,
    size: str,
    epochs: tuple[int, int],
    repository: Path,
    tmp_path: Path,
) -> None:
    shutil.copytree(repository / "conf", tmp_path / "conf")
    shutil.copy(repository / "pyproject.toml", tmp_path)
    text = (repository / "docs/own_dataset.md").read_text(encoding="utf-8")
    section = text.partition("## As a dataset to transfer to")[2].partition("\n## ")[0]
    found = re.findall(r"```yaml\n# (\S+?\.yml)[^\n]*\n(.*?)```", section, re.DOTALL)
    blocks = {name: yaml.safe_load(block) for name, block in found}
    assert len(blocks) == 7
    folder = tmp_path / "conf" / environment
    if copied is None:  # an environment of its own, with the targets that the page says to copy
        folder.mkdir()
        shutil.copy(tmp_path / "conf/hippocampus/parameters_labels.yml", folder)
        blocks["conf/grid.yml"]["downstream"] = [dataset]
    else:
        shutil.copytree(tmp_path / "conf" / copied, folder)
    if copied == "hippocampus":  # "added as above, but `pool` ... gets `downstream: [thyroid]`"
        for name in ("datasets", "labels"):
            above = blocks[f"conf/paper_thyroid/parameters_{name}.yml"]
            blocks[f"conf/{environment}/parameters_{name}.yml"] = above
        above = blocks[f"conf/{environment}/parameters_datasets.yml"]
        above["pool"]["downstream"] = [dataset]
    (tmp_path / "conf/grid.yml").write_text(yaml.safe_dump(blocks["conf/grid.yml"]))
    for name, added in blocks.items():
        path = tmp_path / name
        if path.parent == folder:
            there = yaml.safe_load(path.read_text()) if path.exists() else {}
            path.write_text(yaml.safe_dump(merged(there, added)))
    code = f"""
from tsfm_pipeline.experiments.grid import GRID
from tsfm_pipeline.parameters import load_parameters
parameters = load_parameters("conf", "{environment}")
print(parameters.reporting.workspace, parameters.datasets.root["{dataset}"].layout)
for experiment in GRID:
    if experiment.name.startswith(("transfer.{dataset}.pre", "transfer.{dataset}.scratch")):
        if not parameters.experiments.why_not_run(experiment):
            training = parameters.experiments.training_of(experiment)
            print(experiment.name, training.epochs, training.size)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, *others = ran.stdout.splitlines()
    workspace = copied or "phantom"
    assert first == f"{workspace} {'msd' if dataset == 'hippocampus' else 'nnunet'}"
    assert sorted(others) == [
        f"transfer.{dataset}.{start}.{budget} {number} {size}"
        for start in ("pretrained", "scratch")
        for budget, number in zip(("epoch10", "epoch100"), epochs, strict=True)
    ]


def merged(base: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Write into a file as a person would: below the keys that are there."""
    result = dict(base)
    for key, value in added.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if both else value
    return result


def test_the_documented_network_trains_on_any_grid(repository: Path, tmp_path: Path) -> None:
    text = (repository / "docs/own_network.md").read_text(encoding="utf-8")
    blocks = [
        textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ]
    network, size, row = blocks
    code = f"""
from typing import Literal
from pydantic import Field
from tsfm_pipeline.frozen import FrozenModel
from tsfm_pipeline.network import build, sizes
from tsfm_pipeline.network.sizes import NETWORKS
{size}
sizes.PlainSize = PlainSize
{row}
{network}
build._CLASSES["plain"] = Plain
import torch
plain = build.build_network(NETWORKS["plain"]["tiny"], 2, 5, (8, 8, 8))
plain.checkpointing = True
(logits,) = plain(torch.zeros(1, 2, 8, 7, 6))
logits.sum().backward()
print(tuple(logits.shape), tuple(plain.eval()(torch.zeros(1, 2, 3, 4, 5)).shape))
print(all(parameter.grad is not None for parameter in plain.parameters()))
print(set(plain.first_layers) <= set(dict(plain.named_parameters())))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.splitlines() == ["(1, 5, 8, 7, 6) (1, 5, 3, 4, 5)", "True", "True"], (
        ran.stderr
    )


NOT_IN_ONE_TEXT = ("`--env", "`unknown key", "`killed its worker")
OF_OTHERS = ("`Invalid YAML", "`Failed to find", "`No space left")
"""Messages of Kedro and of the system."""


def test_every_message_of_troubleshooting_is_one_of_ours(repository: Path) -> None:
    source = "\n".join(path.read_text() for path in (repository / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts over several lines
    looked_for = 0
    for row in (repository / "docs/troubleshooting.md").read_text().splitlines():
        if not row.startswith("| `") or row[2:].startswith((*NOT_IN_ONE_TEXT, *OF_OTHERS)):
            continue
        cell = row.split(" | ")[0]
        for message in re.findall(r"``? ?(.+?) ?``?(?=[, ]|$)", cell):
            for part in re.split(r"\.\.\.|\b[NM]\b", message):
                words = part.strip(" `,;?")
                if len(words.split()) > 1:
                    assert words in source, words
                    looked_for += 1
    assert looked_for > 30
