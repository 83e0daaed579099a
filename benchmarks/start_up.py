"""Time what a user waits for before anything happens, in a project with results in place.

    python benchmarks/start_up.py [--project .] [--runs 3]

"registry" is `kedro registry list` from start to end; "run" is `kedro run --pipelines data_pool`
from start to its first node.
"""

import argparse
import statistics
import subprocess
import sys
import time


def seconds_until(command: list[str], project: str, line: str | None) -> float:
    """Return the seconds until a line of output holds a text, or until the end."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "kedro", *command],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        reached = None
        for text in process.stdout:
            if line is not None and line in text and reached is None:
                reached = time.perf_counter()
    return (reached or time.perf_counter()) - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", default=".")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    rows = {
        "registry": (["registry", "list"], None),
        "run": (["run", "--pipelines", "data_pool"], "data_pool: "),
    }
    for name, (command, line) in rows.items():
        times = [seconds_until(command, arguments.project, line) for _ in range(arguments.runs)]
        print(f"{name:10}{statistics.median(times):6.1f} s (median of {arguments.runs})")


if __name__ == "__main__":
    main()
