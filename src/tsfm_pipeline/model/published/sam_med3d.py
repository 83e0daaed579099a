"""SAM-Med3D's checkpoints, such as `sam_med3d_turbo.pth` (uni-medical/SAM-Med3D)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from tsfm_pipeline.model.published.reading import PublishedError, describe, read_state
from tsfm_pipeline.network.sam_med3d import build_sam_med3d


def load_sam_med3d(path: Path) -> nn.Module:
    """Build SAM-Med3D with the weights of a checkpoint, in evaluation mode.

    Raises:
        PublishedError: the file can't be read, or is not SAM-Med3D's: every tensor has to fit.
        MissingExtra: medim is not installed.
    """
    network = build_sam_med3d()
    network.load_state_dict(_fitting_state(path, network))
    return network.eval()


def check_sam_med3d(path: Path) -> None:
    """Refuse what `load_sam_med3d` would, by names and shapes alone."""
    with torch.device("meta"):
        network = build_sam_med3d()
    _fitting_state(path, network)


def _fitting_state(path: Path, network: nn.Module) -> dict[str, Tensor]:
    state = read_state(path)
    ours = network.state_dict()
    for name in [*ours, *state]:
        here, there = (tuple(t[name].shape) if name in t else "absent" for t in (ours, state))
        if here != there:
            raise PublishedError(
                f"{path} is no checkpoint of SAM-Med3D (vit_b_ori): it begins with"
                f" {describe(state)}, SAM-Med3D with {describe(ours)}; the first that does not fit"
                f" is {name}, {there} in the file and {here} here; name a file such as"
                " sam_med3d_turbo.pth"
            )
    return state
