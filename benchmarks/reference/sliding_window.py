"""nnunetv2's or MONAI's sliding window; called by benchmarks/sliding_window.py."""

import json
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn


class Counted(nn.Module):
    """A network that counts the tiles it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.calls = 0

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Count, and predict."""
        self.calls += len(tiles)
        return self.network(tiles)


def nnunet(network: nn.Module, image: torch.Tensor, patch: int, regions: int) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    predictor = nnUNetPredictor(
        use_mirroring=False, device=torch.device("cpu"), verbose=False, allow_tqdm=False
    )
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=[patch] * 3)
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=regions)
    predictor.allowed_mirroring_axes = None
    predictor.predict_sliding_window_return_logits(image)


def monai(network: nn.Module, image: torch.Tensor, patch: int, regions: int) -> None:
    from monai.inferers import sliding_window_inference  # noqa: PLC0415

    with torch.inference_mode():
        sliding_window_inference(image[None], (patch,) * 3, 1, network, 0.5, mode="gaussian")


def peak_gb() -> float:
    """Return this process's peak memory (ru_maxrss would count that of the one that started it)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 2**20


def main() -> None:
    tool, folder, patch, regions, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    network = Counted(torch.jit.load(str(Path(folder) / "network.pt")))
    image = torch.from_numpy(np.load(Path(folder) / "image.npy"))
    predict = nnunet if tool == "nnunetv2" else monai
    side = int(patch)
    predict(network, image[:, :side, :side, :side], side, int(regions))  # compiles
    network.calls = 0
    start = time.perf_counter()
    predict(network, image, side, int(regions))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb(), "tiles": network.calls}))


if __name__ == "__main__":
    main()
