"""Free memory within control groups, laid out by hand."""

import os

import pytest

from tsfm_pipeline import memory


def machine(folder, monkeypatch, available_kb, groups):
    """Lay out a machine's memory files: groups maps path below the root to (limit, use, cached)."""
    meminfo = folder / "meminfo"
    meminfo.write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {available_kb} kB\n")
    for path, (limit, use, cached) in groups.items():
        group = folder / "cgroup" / path
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.max").write_text(f"{limit}\n")
        (group / "memory.current").write_text(f"{use}\n")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    own = folder / "own"
    own.write_text("0::/job/step\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUPS", folder / "cgroup")
    monkeypatch.setattr(memory, "_OWN_GROUP", own)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({}, 8_000_000 * 1024),
        ({"job/step": ("max", 10, 0)}, 8_000_000 * 1024),
        ({"job/step": (1000, 700, 200)}, 500),  # file pages in the cache can be taken back
        ({"job/step": ("max", 700, 0), "job": (900, 800, 0)}, 100),  # the group around it is full
        ({".": (4000, 1000, 0)}, 3000),  # inside a container the limit is at the root
    ],
)
def test_available_memory_is_what_the_tightest_group_leaves(
    groups, expected, tmp_path, monkeypatch
):
    machine(tmp_path, monkeypatch, 8_000_000, groups)
    assert memory.available_memory() == expected


def test_available_memory_of_this_machine_is_a_plausible_number():
    assert 2**20 < memory.available_memory() < 2**50


@pytest.mark.parametrize(
    ("group", "line", "limit", "used"),
    [
        ("job/step", "0::/job/step", "memory.max", "memory.current"),
        (
            "memory/job/step",
            "4:memory:/job/step",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
        ),
    ],
)
def test_memory_is_limited_by_the_control_group(
    tmp_path, monkeypatch, group, line, limit, used
) -> None:
    """Both versions; here the job's limit counts, not the larger one of its step."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.available_memory() <= machine
    for folder, bytes_allowed in ((tmp_path / group, 9000), ((tmp_path / group).parent, 5000)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(f"{bytes_allowed}\n")
        (folder / used).write_text("4000\n")
        (folder / "memory.stat").write_text("anon 100\ninactive_file 300\nactive_file 50\n")
    own = tmp_path / "own"
    own.write_text(f"3:cpu:/\n{line}\n")
    monkeypatch.setattr(memory, "_OWN_GROUP", own)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert memory.available_memory() == 5000 - 4000 + 350
