"""Time a CPU training step beside a busy process, with OpenMP threads that spin or sleep waiting.

    python benchmarks/thread_waiting.py [--size tiny] [--patch 48 32 48] [--steps 10]

Each row is a fresh process, since the policy is read when torch loads its threads. The busy
process keeps one core; "alone" is without it.
"""

import argparse
import os
import statistics
import subprocess
import sys

BUSY = "while True: pass"
STEP = """
import sys, time, torch
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM
size, patch, steps = sys.argv[1], tuple(map(int, sys.argv[2].split(','))), int(sys.argv[3])
network = TSFM(1, 30, SIZES[size], patch).train()
image = torch.randn(2, 1, *patch)
for step in range(steps + 1):
    started = time.perf_counter()
    sum(output.mean() for output in network(image)).backward()
    if step:
        print(time.perf_counter() - started)
"""


def step_seconds(policy: str, busy: bool, arguments: argparse.Namespace) -> float:
    """Return the median seconds of a forward and backward pass."""
    neighbour = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        patch = ",".join(map(str, arguments.patch))
        done = subprocess.run(
            [sys.executable, "-c", STEP, arguments.size, patch, str(arguments.steps)],
            env={**os.environ, "OMP_WAIT_POLICY": policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        if neighbour is not None:
            neighbour.kill()
    return statistics.median(map(float, done.stdout.split()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--patch", type=int, nargs=3, default=[48, 32, 48])
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    print(f"{'policy':10}{'alone':>10}{'busy':>10}   seconds per step")
    for policy in ("ACTIVE", "PASSIVE"):
        alone, busy = (step_seconds(policy, neighbour, arguments) for neighbour in (False, True))
        print(f"{policy:10}{alone:10.2f}{busy:10.2f}")


if __name__ == "__main__":
    main()
