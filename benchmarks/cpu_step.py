"""Time a training step on the CPU with each memory layout and number format, taking turns.

    python benchmarks/cpu_step.py [--size small] [--patch 40 56 40] [--rounds 15] [--compile]

A step is forward, loss, backward and SGD. The median of the rounds is printed, and its ratio to
the first row's. bf16 is measured here only: trainings on a CPU refuse it (training/device.py).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from figures import Figure, hand_over

from tsfm_pipeline.network.sizes import SIZES
from tsfm_pipeline.network.tsfm import TSFM

Step = Callable[[], None]


def make_step(arguments: argparse.Namespace, layout: str, bf16: bool, compiled: bool) -> Step:
    """Build a network of its own and return a function that takes one step with it."""
    torch.manual_seed(0)
    patch = tuple(arguments.patch)
    memory_format = getattr(torch, layout)
    network = TSFM(1, arguments.outputs, SIZES[arguments.size], patch).train()
    network = network.to(memory_format=memory_format)
    model = torch.compile(network) if compiled else network
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.99, nesterov=True)
    image = torch.randn(arguments.batch, 1, *patch).contiguous(memory_format=memory_format)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = model(image)
        sum(output.float().square().mean() for output in outputs).backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="small")
    parser.add_argument("--patch", type=int, nargs=3, default=[40, 56, 40])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--outputs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, too")
    arguments = parser.parse_args()
    variants = [
        (layout, bf16, compiled)
        for compiled in ([False, True] if arguments.compile else [False])
        for bf16 in (False, True)
        for layout in ("contiguous_format", "channels_last_3d")
    ]
    steps = [make_step(arguments, *variant) for variant in variants]
    seconds: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step()  # warm-up: memory, and compilation
    for _ in range(arguments.rounds):
        for step, measured in zip(steps, seconds, strict=True):
            started = time.perf_counter()
            step()
            measured.append(time.perf_counter() - started)
    print(f"{'layout':20}{'format':10}{'compiled':10}{'s per step':>12}{'ratio':>8}")
    for (layout, bf16, compiled), measured in zip(variants, seconds, strict=True):
        median = statistics.median(measured)
        ratio = median / statistics.median(seconds[0])
        number_format = "bf16" if bf16 else "float32"
        print(f"{layout:20}{number_format:10}{compiled!s:10}{median:12.3f}{ratio:8.2f}")
        compiling = ", compiled" if compiled else ""
        way = f"{arguments.size}, {layout}, {number_format}{compiling}"
        hand_over(Figure(way, "s a step", median))


if __name__ == "__main__":
    main()
