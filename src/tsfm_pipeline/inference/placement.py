"""Where the summed scores of a volume go, decided from free memory before anything is predicted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

SHARE = 0.9
"""Part of the free memory that the scores may take; the rest is for tiles, export and others."""


class PlacementError(ValueError):
    """A volume whose scores fit into no memory of this machine."""


@dataclass(frozen=True)
class Placement:
    """Where the scores of a volume are summed.

    Attributes:
        device: the network's GPU, or main memory.
        dtype: float32, or float16 where that does not fit.
    """

    device: torch.device
    dtype: torch.dtype


def place_scores(
    shape: Sequence[int], device: torch.device, main_free: int, device_free: int = 0
) -> Placement:
    """Choose number format and memory of the scores.

    They end up in main memory for export, so its room decides the number format; they are summed
    on the GPU when it has room for them beside what the network needs.

    Args:
        shape: of the scores (K regions, Z, Y, X).
        device: where the network computes.
        main_free: bytes that main memory has left (`memory.available_memory`).
        device_free: bytes that the GPU has left with the network at work.

    Raises:
        PlacementError: half precision does not fit either; says how much is there and needed.
    """
    for dtype in (torch.float32, torch.float16):
        size = math.prod(shape) * dtype.itemsize
        if size <= SHARE * main_free:
            fits = device.type == "cuda" and size <= SHARE * device_free
            return Placement(device if fits else torch.device("cpu"), dtype)
    regions, *grid = shape
    raise PlacementError(
        f"scores of {regions} region(s) on {' x '.join(map(str, grid))} voxels need"
        f" {size / 2**30:.1f} GiB in half precision, but of main memory {main_free / 2**30:.1f} GiB"
        f" are free and {SHARE:.0%} of that may be used; predict fewer regions at a time, free"
        " memory, or take a machine with more"
    )
