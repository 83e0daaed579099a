"""`make faults`: inflict every fault, and write the table into docs/reliability.md.

Ctrl-C writes it of those that have ended.

Usage: python -m tests.faults [--signals N] [--jobs N] [--only WORDS] [--folder DIR] [--rows FILE]
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

from tests.faults.inflict import Fault, every_fault
from tests.faults.judge import FINDING, Outcome, judge
from tests.faults.reference import Reference
from tests.faults.table import Row, write_table


def main() -> int:
    """Return 1 where a fault ended otherwise than it may."""
    parse = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parse.add_argument("--signals", type=int, default=10, help="of each kind in each phase")
    parse.add_argument("--jobs", type=int, default=2, help="faults at once")
    parse.add_argument("--only", default="", help="faults whose kind and target contain this")
    parse.add_argument("--folder", type=Path, help="for the workspaces; default: a temporary one")
    parse.add_argument(
        "--rows", type=Path, help="keeps what has ended; findings alone are tried again"
    )
    given = parse.parse_args()
    faults = [f for f in every_fault(given.signals) if given.only in f"{f.kind} {f.target}"]
    rows = _kept(given.rows)
    planned, done = len(faults), {(row.kind, row.target, row.seed) for row in rows}
    faults = [f for f in faults if (f.kind, f.target, f.seed) not in done]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        Path(folder).chmod(0o755)  # trials of permissions are another user's
        started = time.monotonic()
        reference = Reference.make(Path(folder))
        _say(f"undisturbed: {time.monotonic() - started:.0f} s; {len(faults)} faults")
        pool = ThreadPoolExecutor(given.jobs)
        folders = [Path(folder) / f"fault_{number}" for number in range(len(faults))]
        try:
            for row in pool.map(_inflict, faults, repeat(reference), folders):
                text = json.dumps(asdict(row))
                _say(text)
                rows.append(row)
                if given.rows:
                    with given.rows.open("a") as file:
                        file.write(f"{text}\n")
        except KeyboardInterrupt:
            _say("stopped: the table has what has ended")
        finally:
            pool.shutdown(cancel_futures=True)
    if not given.only:
        write_table(rows, planned)
    return 1 if any(row.verdict == FINDING for row in rows) else 0


def _kept(path: Path | None) -> list[Row]:
    lines = path.read_text().splitlines() if path and path.exists() else []
    rows = [Row(**json.loads(line)) for line in lines]
    return [row for row in rows if row.verdict != FINDING]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _inflict(fault: Fault, reference: Reference, folder: Path) -> Row:
    """Inflict one fault in a new folder and judge it."""
    started = time.monotonic()
    try:
        with fault.trial(reference, folder) as trial:
            outcome = judge(trial, reference)
    except Exception as error:  # of the harness: the other faults go on, the table says so
        outcome = Outcome(FINDING, f"the harness failed: {type(error).__name__}: {error}")
    seconds = time.monotonic() - started
    return Row(fault.kind, fault.target, fault.seed, outcome.verdict, outcome.line, seconds)


if __name__ == "__main__":
    sys.exit(main())
