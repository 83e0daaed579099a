"""`python -m tsfm_pipeline.network [--diagram SIZE]`: print the table of sizes, or a drawing."""

import argparse

from tsfm_pipeline.network.diagram import diagram
from tsfm_pipeline.network.footprint import footprint
from tsfm_pipeline.network.sizes import PAPER_PATCH, SIZES

POOL_TARGETS = 30


def main() -> None:
    """Print what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tsfm_pipeline.network")
    parser.add_argument("--diagram", choices=SIZES, help="print this size as Mermaid text")
    size = parser.parse_args().diagram
    if size is not None:
        print(diagram(size, 1, POOL_TARGETS, PAPER_PATCH), end="")
    else:
        print_sizes()


def print_sizes() -> None:
    """Print sizes, parameters and operations at the paper's patch, with the pool's targets."""
    print(f"TSFM, 1 input channel, {POOL_TARGETS} outputs, patch {'x'.join(map(str, PAPER_PATCH))}")
    print("parameters: with the final head; + heads of the coarser grids (training only)")
    print(
        f"{'size':<6} {'channels':>8} {'blocks':>6} {'transformer':>16}"
        f" {'parameters':>14} {'+ heads':>8} {'forward TFLOP':>14}"
    )
    for name, size in SIZES.items():
        cost = footprint(name, 1, POOL_TARGETS, PAPER_PATCH)
        transformer = f"{size.layers} x {size.width} / {size.heads}"
        print(
            f"{name:<6} {size.channels:>8} {size.blocks:>6} {transformer:>16}"
            f" {cost.parameters:>14,} {cost.supervision_parameters:>8,}"
            f" {cost.forward_flops / 1e12:>14.2f}"
        )


if __name__ == "__main__":
    main()
