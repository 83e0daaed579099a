"""An undisturbed run of every phase, beside which all others are held."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.faults.workspace import PHASES, Run, Workspace, began


@dataclass(frozen=True)
class Reference:
    """Undisturbed workspaces.

    Attributes:
        before: the workspace that each phase starts from.
        end: after the last phase, and a second time all of it.
        work_seconds: how long each phase works, its start-up left out.
        usual: the lines that undisturbed runs print, without numbers.
    """

    before: dict[str, Workspace]
    end: Workspace
    work_seconds: dict[str, float]
    usual: frozenset[str]

    def after(self, phase: str) -> Workspace:
        """Return the workspace that a phase leaves."""
        following = dict(pairwise(PHASES)).get(phase)
        return self.before[following] if following else self.end

    @classmethod
    def make(cls, folder: Path) -> "Reference":
        """Run every phase, and everything once more.

        Raises:
            AssertionError: a phase did not end well.
        """
        before: dict[str, Workspace] = {}
        seconds: dict[str, float] = {}
        lines: set[str] = set()
        workspace = Workspace.make(folder / "undisturbed")
        _well(workspace.run("phantom"))
        for phase in PHASES:
            before[phase] = workspace.copy_to(folder / f"before_{phase}")
            done = _well(workspace.run(phase, began))
            seconds[phase] = done.seconds - done.disturbed_after
            lines |= set(done.lines)
        again = workspace.copy_to(folder / "again")
        for phase in ("transfer", "predict", "report"):
            lines |= set(_well(again.run(phase)).lines)
        return cls(before, workspace, seconds, frozenset(map(without_numbers, lines)))


def _well(run: Run) -> Run:
    assert run.status == 0, "\n".join(run.lines[-40:])
    return run


def without_numbers(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"/\S*/(data|conf|mlflow)", r"\1", line)
    return re.sub(r"\b[0-9a-f]{8,}\b|\d+([.,:]\d+)*", "#", line)
