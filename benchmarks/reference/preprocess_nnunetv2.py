"""nnunetv2's preprocessing of Dataset001; called by benchmarks/preparation.py in its environment.

It finds its folders by the variables nnUNet_raw, nnUNet_preprocessed and nnUNet_results.
Fingerprint and plan are made first and not timed.
"""

import contextlib
import io
import sys
import time

from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)


def main() -> None:
    """Print the seconds; arguments: worker processes, then the target spacing z, y, x."""
    processes, spacing = int(sys.argv[1]), tuple(float(value) for value in sys.argv[2:5])
    with contextlib.redirect_stdout(io.StringIO()):
        extract_fingerprints([1], num_processes=processes, verbose=False)
        plan_experiments([1], overwrite_target_spacing=spacing)
        start = time.perf_counter()
        preprocess([1], configurations=("3d_fullres",), num_processes=(processes,))
        seconds = time.perf_counter() - start
    print(f"seconds {seconds:.3f}")


if __name__ == "__main__":
    main()
