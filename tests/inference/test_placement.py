import pytest
import torch

from tsfm_pipeline.inference import placement
from tsfm_pipeline.inference.placement import PlacementError, free_memory, place_scores

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
SHAPE = (3, 100, 100, 100)  # 12 MB in float32


@pytest.mark.parametrize(
    ("device", "main", "gpu", "expected"),
    [
        (CPU, 20e6, 0, (CPU, torch.float32)),
        (CPU, 8e6, 0, (CPU, torch.float16)),
        (GPU, 20e6, 20e6, (GPU, torch.float32)),
        (GPU, 20e6, 8e6, (CPU, torch.float32)),  # full precision before the GPU
        (GPU, 8e6, 8e6, (GPU, torch.float16)),
        (GPU, 13e6, 20e6, (GPU, torch.float16)),  # 12 MB are more than 90 % of 13 MB
    ],
)
def test_scores_go_where_there_is_room(device, main, gpu, expected):
    found = place_scores(SHAPE, device, int(main), int(gpu))
    assert (found.device, found.dtype) == expected


def test_no_room_is_an_error_with_the_numbers():
    with pytest.raises(PlacementError, match=r"30 region\(s\) on 400 x 512 x 512 voxels need 5\.9"):
        place_scores((30, 400, 512, 512), GPU, 4 * 2**30, 80 * 2**30)


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
    monkeypatch.setattr(placement, "_MEMINFO", meminfo)
    monkeypatch.setattr(placement, "_CGROUPS", folder / "cgroup")
    monkeypatch.setattr(placement, "_OWN_CGROUP", own)


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
def test_free_memory_is_what_the_tightest_group_leaves(groups, expected, tmp_path, monkeypatch):
    machine(tmp_path, monkeypatch, 8_000_000, groups)
    assert free_memory() == expected


def test_free_memory_of_this_machine_is_a_plausible_number():
    assert 2**20 < free_memory() < 2**50
