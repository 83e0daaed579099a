"""Where the summed scores of a volume go, decided from free memory before anything is predicted."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

SHARE = 0.9
"""Part of the free memory that the scores may take; the rest is for tiles, export and others."""

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


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
        main_free: bytes that main memory has left (`free_memory`).
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


def free_memory() -> int:
    """Return the bytes that this process may still take of main memory.

    The least of what the system calls available and what the control groups (containers, batch
    systems) that the process runs in leave of their limits.
    """
    return min([_available(), *_left_by_cgroups()])


def _available() -> int:
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_by_cgroups() -> Iterator[int]:
    """Yield limit minus use of each limited group; cached file pages don't count as use."""
    try:
        own = [line.split(":", 2) for line in _OWN_CGROUP.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in own:
        if controllers == "":
            yield from _left(_CGROUPS, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _left(_CGROUPS / "memory", path, *names)


def _left(root: Path, path: str, limit: str, use: str, cached: str) -> Iterator[int]:
    """Yield what a group and those around it leave; inside a container only the root is seen."""
    group = Path(path.lstrip("/"))
    for folder in (root / group, *(root / parent for parent in group.parents)):
        try:
            most = (folder / limit).read_text().strip()
            used = int((folder / use).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        if most != "max":
            yield int(most) - used + int(stat.get(cached, 0))
