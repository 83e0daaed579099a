"""Sliding-window prediction: ours, nnunetv2's predictor and MONAI's inferer, one network.

    python benchmarks/sliding_window.py [--reference-python PATH] [--tiles 4] [--threads 1]

A traced TSFM of size tiny predicts one CT-like volume on the CPU. The volume's sides are chosen so
that all three lay the same tiles (nnU-Net spreads them evenly, MONAI takes fixed steps). Each tool
runs in a process of its own; PATH is the Python of an environment with nnunetv2, without which
that is left out. MONAI is the one of our environment.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from child import peak_gb, run
from figures import Figure, hand_over

from tsfm_pipeline.inference.settings import InferenceSettings
from tsfm_pipeline.inference.sliding_window import predict_tiles
from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM

REFERENCE = Path(__file__).parent / "reference" / "sliding_window.py"


def write_task(folder: Path, patch: int, tiles: int, regions: int) -> None:
    """Write the traced network and a volume on which `tiles` tiles a side are laid."""
    torch.manual_seed(0)
    network = TSFM(1, regions, SIZES["tiny"], (patch,) * 3).eval()
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # one patch size is all it sees
        traced = torch.jit.trace(network, torch.zeros(1, 1, patch, patch, patch))
    traced.save(str(folder / "network.pt"))
    side = patch + (tiles - 1) * patch // 2
    image = np.random.default_rng(0).normal(size=(1, side, side, side)).astype(np.float32)
    np.save(folder / "image.npy", image)


def predict(folder: Path, patch: int, regions: int) -> None:
    """Predict with ours; print seconds, peak memory and tiles as JSON."""
    network = torch.jit.load(str(folder / "network.pt"))
    image = np.load(folder / "image.npy")
    calls = 0

    def counted(tiles: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += len(tiles)
        return network(tiles)

    network(torch.zeros(1, 1, patch, patch, patch))  # compiles
    start = time.perf_counter()
    predict_tiles(
        counted,
        image,
        patch=(patch,) * 3,
        channels=range(regions),
        settings=InferenceSettings(),
        device=torch.device("cpu"),
    )
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb(), "tiles": calls}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--tiles", type=int, default=4, help="tiles along each axis")
    parser.add_argument("--regions", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reference-python")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        predict(args.child, args.patch, args.regions)
        return
    numbers = [str(number) for number in (args.patch, args.regions, args.threads)]
    with tempfile.TemporaryDirectory() as name:
        write_task(Path(name), args.patch, args.tiles, args.regions)
        options = ["--patch", numbers[0], "--regions", numbers[1], "--threads", numbers[2]]
        commands = {"tsfm-pipeline": [sys.executable, __file__, "--child", name, *options]}
        commands["monai"] = [sys.executable, str(REFERENCE), "monai", name, *numbers]
        if args.reference_python:
            commands["nnunetv2"] = [
                args.reference_python,
                str(REFERENCE),
                "nnunetv2",
                name,
                *numbers,
            ]
        print("| tool | tiles | seconds | time of ours / its | peak GB |\n|---|---|---|---|---|")
        measured: dict[str, dict[str, float]] = {}
        for tool, command in commands.items():
            found = measured[tool] = run(command)
            ours = measured["tsfm-pipeline"]
            ratio = f"{ours['seconds'] / found['seconds']:.2f}"
            numbers_shown = f"{found['seconds']:.2f} | {ratio} | {found['peak_gb']:.2f}"
            print(f"| {tool} | {found['tiles']:.0f} | {numbers_shown} |", flush=True)
            if found is not ours:
                seconds, memory = ((ours[key], found[key]) for key in ("seconds", "peak_gb"))
                task = f"{found['tiles']:.0f} tiles of {args.patch}^3"
                hand_over(Figure(task, "s", seconds[0], tool, seconds[1], *memory))


if __name__ == "__main__":
    main()
