"""What the scripts share that measure each tool in a process of its own."""

import json
import re
import subprocess
from pathlib import Path


def peak_gb() -> float:
    """Return this process's peak memory (ru_maxrss would count that of the one that started it)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


def run(command: list[str]) -> dict[str, float]:
    """Run one tool and return what it measured of itself, the JSON of its last line."""
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(found.strip().splitlines()[-1]))
