import pytest
import torch

from tsfm_pipeline.inference.placement import PlacementError, place_scores

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
