"""How the scripts hand their figures to `make benchmarks` (run.py), which names a file for them."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "TSFM_BENCHMARK_FIGURES"
"""Environment variable that names the file; without it nothing is handed over."""


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        unit: of both values.
        ours: our value.
        peer: whose value stands beside it; empty where nothing compares.
        peer_value: its value.
        ours_gb: our peak memory, where it was measured.
        peer_gb: the peer's.
    """

    name: str
    unit: str
    ours: float
    peer: str = ""
    peer_value: float | None = None
    ours_gb: float | None = None
    peer_gb: float | None = None

    @property
    def ratio(self) -> float | None:
        """The peer's value over ours; above 1, ours takes less."""
        return None if self.peer_value is None or not self.ours else self.peer_value / self.ours


def hand_over(*figures: Figure) -> None:
    """Add figures to the file, a JSON line each."""
    path = os.environ.get(FILE)
    if path is None:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        for figure in figures:
            file.write(json.dumps(asdict(figure)) + "\n")
