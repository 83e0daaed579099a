"""How a fault ended: identical, repaired or refused with a line, or otherwise."""

import re
from dataclasses import dataclass

from tests.faults.compare import differences, leftovers
from tests.faults.inflict import Trial
from tests.faults.reference import Reference, without_numbers
from tests.faults.workspace import Run

IDENTICAL, REPAIRED, REFUSED, FINDING = "identical", "repaired", "refused", "FINDING"
TOLD = "told"
REPORTS = "08_reporting/"
MAY_END = (0, -9, -15, 143)
"""Well, or by the signal that was sent."""
LINES = re.compile(r"^(WARNING|ERROR|CRITICAL|Error:|tsfm-predict:|failed:|note:)")


@dataclass(frozen=True)
class Outcome:
    """How one fault ended.

    Attributes:
        verdict: identical (and not a word), repaired, refused, told, or a finding.
        line: what was printed about it; of a finding, what was wrong.
    """

    verdict: str
    line: str


def judge(trial: Trial, reference: Reference) -> Outcome:
    """Look at what a fault left.

    A run that refuses is followed by one without the fault, which must end well.
    """
    refused, last = [run for run in trial.disturbed if run.status not in MAY_END], trial.last
    runs = [*trial.disturbed, last]
    if last.status != 0 and not refused and trial.cure is not None:
        refused = [last]
        trial.cure()
        last = trial.workspace.run(last.phase)
        runs.append(last)
    told = [_line(run, reference) for run in refused]
    if problem := next(filter(None, map(_problem, runs)), ""):
        return Outcome(FINDING, problem)
    if not all(told):
        return Outcome(FINDING, f"status {refused[0].status} without a line")
    line = _line(last, reference)
    if last.status != 0:
        return Outcome(FINDING, f"then status {last.status}: {line}")
    found = differences(trial.expected, trial.workspace) + leftovers(trial.workspace)
    if found:
        return _of_differences(found, trial.lost, line)
    if told:
        return Outcome(REFUSED, told[0])
    return Outcome(REPAIRED, line) if line else Outcome(IDENTICAL, "")


def _of_differences(found: list[str], lost: str, line: str) -> Outcome:
    beside = [name for name in found if not name.startswith((lost, REPORTS))]
    if lost and line and not beside:
        return Outcome(TOLD, line)
    more = f" and {len(found) - 1} more" if found[1:] else ""
    return Outcome(FINDING, f"{found[0]}{more}" + (f" ({line})" if line else ""))


def _problem(run: Run) -> str:
    if run.status is None:
        return "hung"
    if run.traceback:
        last = [line for line in run.lines if re.match(r"^\w[\w.]*(Error|Exception|Exit)\b", line)]
        frames = [line.strip() for line in run.lines if "tsfm_pipeline" in line and "File" in line]
        where = f" ({frames[-1]})" if frames else ""
        return f"traceback: {last[-1] if last else run.lines[-1]}{where}"
    return ""


def _line(run: Run, reference: Reference) -> str:
    """Return the first line that an undisturbed run does not print and that tells of something."""
    lines = [
        line
        for line in run.lines
        if LINES.match(line) and without_numbers(line) not in reference.usual
    ]
    return lines[0] if lines else ""
