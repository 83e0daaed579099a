"""Time resampling quiet and beside a busy neighbour.

    python benchmarks/busy_neighbour.py [--rounds 15] [--neighbours 2] [--threads 0]

Each round resamples a small MR (a hippocampus crop), a CT crop and its scores; a row is the median
and the slowest of the rounds. Neighbours are processes that spin. `--threads 2` times the matrix
products as they were before they were given one thread: waiting for each other, BLAS threads spin,
and a thread that a neighbour keeps from its core keeps all others waiting.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from unittest import mock

import numpy as np
from figures import Figure, hand_over
from threadpoolctl import threadpool_limits

from tsfm_pipeline.imaging import resampling

BUSY = "while True: pass"
CASES = {
    "MR 40x50x36": ((40, 50, 36), (1.0, 1.0, 1.0), (1.5, 1.0, 1.0)),
    "CT 60x128x128": ((60, 128, 128), (2.5, 0.8, 0.8), (1.5, 1.0, 1.0)),
    "CT 100x256x256": ((100, 256, 256), (2.5, 0.8, 0.8), (1.5, 1.0, 1.0)),
}


def seconds(case: str, rounds: int) -> list[float]:
    """Return the seconds of each round."""
    shape, spacing, target = CASES[case]
    image_CZYX = np.random.default_rng(0).normal(0, 100, (1, *shape)).astype(np.float32)
    new_shape = resampling.resampled_shape(shape, spacing, target)
    resampling.resample_image(image_CZYX, new_shape, spacing, target)  # its operators are kept
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        resampling.resample_image(image_CZYX, new_shape, spacing, target)
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--neighbours", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of BLAS; 0: as the library does")
    options = parser.parse_args()
    print(f"{'volume':16}{'quiet':>9}{'busy':>9}{'ratio':>7}{'slowest busy':>14}   seconds")
    with contextlib.ExitStack() as stack:
        if options.threads:
            stack.enter_context(threadpool_limits(options.threads, user_api="blas"))
            free = mock.patch.object(resampling, "one_thread", contextlib.nullcontext)
            stack.enter_context(free)
        for case in CASES:
            quiet = seconds(case, options.rounds)
            busy = [
                subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(options.neighbours)
            ]
            try:
                beside = seconds(case, options.rounds)
            finally:
                for neighbour in busy:
                    neighbour.kill()
                    neighbour.wait()
            medians = statistics.median(quiet), statistics.median(beside)
            print(
                f"{case:16}{medians[0]:9.4f}{medians[1]:9.4f}{medians[1] / medians[0]:7.1f}"
                f"{max(beside):14.4f}"
            )
            hand_over(
                Figure(f"{case}, quiet", "s", medians[0]),
                Figure(f"{case}, beside {options.neighbours} busy", "s", medians[1]),
            )


if __name__ == "__main__":
    main()
