"""How much memory this process and its children may still take."""

import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_VERSION_2 = ("memory.max", "memory.current")


def available_memory() -> int:
    """Return the bytes that can be taken without swapping, within any container's or job's limit.

    SLURM and containers limit memory by control groups, which the system's own count of available
    memory does not show.
    """
    return min([_free_of_machine(), *_free_of_groups()])


def _free_of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (line,) = (line for line in lines if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _free_of_groups() -> list[int]:
    """Return what each limited control group around this process has left."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return []
    free = []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, files = (_CGROUPS / "memory", _VERSION_1) if controllers else (_CGROUPS, _VERSION_2)
        own = Path(name.lstrip("/"))
        for group in (own, *own.parents):
            try:
                limit, used = ((root / group / file).read_text().strip() for file in files)
                cache = _cache(root / group / "memory.stat")
            except OSError:  # the group lies outside this container
                continue
            if limit != "max":
                free.append(max(0, int(limit) - int(used) + cache))
    return free


def _cache(statistics: Path) -> int:
    """Return the bytes of files that the system drops when memory runs short."""
    rows = (line.split() for line in statistics.read_text().splitlines())
    return sum(int(value) for name, value in rows if name in ("active_file", "inactive_file"))
