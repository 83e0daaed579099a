"""Say what every network costs: parameters, operations, memory; --diagram draws a size of TSFM."""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsfm_pipeline.planning.network_table import NetworkRow

COLUMNS = "{:<24} {:<6} {:>11} {:>7} {:>13} {:>14} {:>8} {:>6} {:>12}"
HEADING = COLUMNS.format(
    "network",
    "size",
    "patch",
    "outputs",
    "on grids of",
    "parameters",
    "+ heads",
    "TFLOP",
    "training GiB",
)


def main(arguments: Sequence[str]) -> int:
    """Print the table, or the drawing; exit status 0."""
    parser = argparse.ArgumentParser(
        prog="tsfm-pipeline networks",
        description="Every network that experiments can name, each at a patch it is known for. "
        "Nothing is allocated.",
    )
    parser.add_argument("--diagram", metavar="SIZE", help="print this size of TSFM as Mermaid text")
    size = parser.parse_args(arguments).diagram

    from tqdm import tqdm  # heavy imports wait for right arguments

    from tsfm_pipeline.network.diagram import diagram
    from tsfm_pipeline.network.extras import MissingExtra
    from tsfm_pipeline.network.sizes import NETWORKS, PAPER_PATCH, SIZES
    from tsfm_pipeline.planning.network_table import (
        BATCH_SIZE,
        POOL_TARGETS,
        network_row,
        sam_med3d_row,
    )

    if size is not None:
        if size not in SIZES:
            parser.error(f"--diagram {size}: TSFM has {', '.join(SIZES)}")
        sys.stdout.write(diagram(SIZES[size], 1, POOL_TARGETS, PAPER_PATCH))
        return 0
    lines, missing = [HEADING], {}
    rows: dict[tuple[str, str], Callable[[], NetworkRow]] = {
        (network, size): partial(network_row, network, size)
        for network, sizes in NETWORKS.items()
        for size in sizes
    }
    rows["sam_med3d", "vit_b"] = sam_med3d_row
    for (network, size), row in tqdm(
        rows.items(), desc="Counting", unit="network", disable=None, leave=False
    ):
        try:
            lines.append(line_of(network, size, row()))
        except MissingExtra as error:
            lines.append(f"{network:<24} {size:<6} not installed")
            missing[network] = str(error)
    notes = [
        f"One image channel. {POOL_TARGETS} outputs: the pool's targets.",
        "+ heads: those of the coarser grids, used in training only.",
        "TFLOP: one forward pass; a multiply-add counts two.",
        f"training GiB: an estimate for SGD, batch {BATCH_SIZE}, without checkpointing"
        " (planning/network_table.py).",
        "sam_med3d is prompted, not trained; TFLOP: its image encoder, once per case and target.",
        "Published counts of nnU-Net and STU-Net hold one more head, whose weight is 0.",
        *missing.values(),
    ]
    sys.stdout.write("\n".join([*lines, "", *notes]) + "\n")
    return 0


def line_of(network: str, size: str, row: "NetworkRow") -> str:
    """Return the table's line of a network."""
    cost = row.cost
    grids = " ".join(f"1/{2**level}" if level else "1" for level in range(cost.supervised))
    return COLUMNS.format(
        network,
        size,
        "x".join(map(str, row.patch)),
        row.outputs,
        grids,
        f"{cost.parameters:,}",
        f"{cost.supervision_parameters:,}",
        f"{cost.forward_flops / 1e12:.2f}",
        "-" if math.isnan(row.training_gib) else f"{row.training_gib:.1f}",
    )
