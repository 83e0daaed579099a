"""The table of faults in docs/reliability.md."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.faults.workspace import REPOSITORY
from tests.generated import write_part

PAGE = REPOSITORY / "docs" / "reliability.md"
BEGIN = "<!-- begin: made by `make faults` -->"


@dataclass(frozen=True)
class Row:
    """A fault and its outcome."""

    kind: str
    target: str
    seed: int
    verdict: str
    line: str
    seconds: float


def write_table(rows: Sequence[Row], planned: int) -> None:
    """Put the table between its marks in the page; see `table`."""
    write_part(PAGE, BEGIN, table(rows, planned))


def table(rows: Sequence[Row], planned: int) -> str:
    """Return one line per kind, target and verdict, with how often and what was printed.

    Args:
        rows: faults that were inflicted.
        planned: how many there are to inflict.
    """
    verdicts = Counter(row.verdict for row in rows)
    counted = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common())
    lines = [
        f"{len(rows)} of {planned} faults inflicted: {counted}.",
        "",
        "| fault | where | outcome | times | the line printed (the first one) |",
        "|---|---|---|---|---|",
    ]

    def key(row: Row) -> tuple[str, str, str]:
        return row.kind, row.target, row.verdict

    order = {row.kind: place for place, row in reversed(list(enumerate(rows)))}
    for (kind, target, verdict), group in groupby(
        sorted(rows, key=lambda row: (order[row.kind], *key(row))), key
    ):
        found = list(group)
        cells = (kind, target, verdict, str(len(found)), _shown(found[0].line))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(line: str) -> str:
    """Return a line without the temporary folder, as a cell of the table."""
    line = re.sub(r"/\S*?/fault_\d+/?", "", line)
    line = line if len(line) <= 240 else f"{line[:240]} ..."
    return f"`{line}`".replace("|", "\\|") if line else ""
