"""The quick faults of `make faults`: those of the pool."""

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.artefacts import ARTEFACTS
from tests.faults.inflict import Trial, delete, every_fault, flip
from tests.faults.judge import FINDING, IDENTICAL, REFUSED, REPAIRED, judge
from tests.faults.reference import Reference, without_numbers
from tests.faults.table import Row, table
from tests.faults.workspace import SECRET, Run, Workspace, began

pytestmark = pytest.mark.timeout(1500)  # ten commands: a minute and a half where nothing else runs

FAULTS = [fault for fault in every_fault(1) if fault.target.endswith("data_pool")]
NAMED = {f"{fault.kind}, {fault.target}": fault for fault in FAULTS}
QUICK = ("kill -9, data_pool", "two at once, data_pool")  # SIGTERM: tests/hooks/test_termination.py
REFUSED_WHEN_DAMAGED = "pool versions"  # the one table that no run makes anew
POOL = [
    artefact
    for artefact in ARTEFACTS
    if artefact.phase in ("data_pool", "verify")
    and "01_raw" not in artefact.pattern
    and artefact.name != REFUSED_WHEN_DAMAGED
]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The pool alone: without trainings, a fault takes seconds."""
    folder = tmp_path_factory.mktemp("faults")
    workspace = Workspace.make(folder / "undisturbed")
    runs = [workspace.run("phantom")]
    before = workspace.copy_to(folder / "before")
    runs.append(workspace.run("data_pool", began))
    assert [run.status for run in runs] == [0, 0], runs
    usual = frozenset(without_numbers(line) for run in runs for line in run.lines)
    work = runs[1].seconds - runs[1].disturbed_after
    return Reference(
        {"data_pool": before, "pretrain": workspace}, workspace, {"data_pool": work}, usual
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_ends_identical_repaired_or_refused(
    reference: Reference, tmp_path: Path, name: str
) -> None:
    with NAMED[name].trial(reference, tmp_path / "fault") as trial:
        outcome = judge(trial, reference)
    assert outcome.verdict in (IDENTICAL, REPAIRED, REFUSED), outcome


@pytest.mark.parametrize("damage", [flip, delete])
def test_damage_to_every_file_of_the_pool_is_repaired_in_one_run(
    reference: Reference, tmp_path: Path, damage: Callable[[Path, random.Random], None]
) -> None:
    workspace = reference.end.copy_to(tmp_path / "fault")
    chance = random.Random(0)
    for artefact in POOL:
        damage(workspace.one(artefact.pattern, chance.randrange(100)), chance)
    trial = Trial(workspace, reference.end, workspace.run("verify"))
    outcome = judge(trial, reference)
    assert outcome.verdict in (IDENTICAL, REPAIRED), outcome
    if damage is flip:
        assert "its stored files were damaged, prepared again" in "\n".join(trial.last.lines)


def test_no_file_holds_an_environment_variable(reference: Reference) -> None:
    found = subprocess.run(
        ["grep", "-rl", SECRET, "--exclude-dir=src", str(reference.end.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, "")


def test_what_may_not_be_is_found(reference: Reference, tmp_path: Path) -> None:
    """A judge that never finds anything would be worth nothing."""
    workspace = reference.end.copy_to(tmp_path / "fault")
    fine = Run("data_pool", 0, (), 1.0, 0.0)
    labels = workspace.one("data/03_primary/*/cases/*/*/labels.b2nd")

    def verdict(last: Run, *disturbed: Run) -> tuple[str, str]:
        outcome = judge(Trial(workspace, reference.end, last, list(disturbed)), reference)
        return outcome.verdict, outcome.line

    assert verdict(fine) == (IDENTICAL, "")
    traceback = Run("data_pool", 1, ("Traceback (most recent call last):", "KeyError: 1"), 1.0, 0.0)
    assert verdict(fine, traceback) == (FINDING, "traceback: KeyError: 1")
    assert verdict(fine, Run("data_pool", None, (), 1.0, 0.0)) == (FINDING, "hung")
    assert verdict(fine, Run("data_pool", 1, (), 1.0, 0.0))[0] == FINDING
    said = Run("data_pool", 1, ("Error: /data: No space left on device",), 1.0, 0.0)
    assert verdict(fine, said) == (REFUSED, "Error: /data: No space left on device")
    flip(labels, random.Random(0))
    assert verdict(fine)[0] == FINDING
    shutil.rmtree(labels.parent)
    assert "is missing" in verdict(fine)[1]


def test_the_table_counts_equal_outcomes_once() -> None:
    rows = [
        Row("kill -9", "pretrain", 0, IDENTICAL, "", 1.0),
        Row("kill -9", "pretrain", 1, IDENTICAL, "", 1.0),
        Row("deleted", "split", 0, REFUSED, "Error: /tmp/a/fault_3/data/x | y", 1.0),
    ]
    text = table(rows, 7)
    assert "| kill -9 | pretrain | identical | 2 |  |" in text
    assert "| deleted | split | refused | 1 | `Error: data/x \\| y` |" in text
    assert text.startswith("3 of 7 faults inflicted: 2 identical, 1 refused.")
