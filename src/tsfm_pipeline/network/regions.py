"""Regions as sums of exclusive classes: what a network trained with a softmax predicts.

Shape suffixes: B batch, C image channels, K classes, R regions, D/H/W voxels along z, y, x.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsfm_pipeline.imaging.labels import LabelTable


class RegionsOfClasses(nn.Module):
    """A network trained with a softmax over exclusive targets, seen as one that predicts regions.

    Args:
        network: gives one logit per target; background's is 0.
        members_RK: which targets make up each region, bool.
    """

    def __init__(self, network: nn.Module, members_RK: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("members_RK", members_RK)

    def forward(self, x_BCDHW: Tensor) -> Tensor:
        """Return the log-odds (B, regions, D, H, W) of each region's summed probability."""
        return region_log_odds(self.network(x_BCDHW), self.get_buffer("members_RK"))


def class_members(table: LabelTable, regions: Sequence[str]) -> Tensor:
    """Tell which classes make up each region, (R, K) bool; classes as `exclusive_targets`."""
    classes = table.exclusive_targets(regions)
    return torch.tensor(
        [[name in table.region_targets(region) for name in classes] for region in regions]
    )


def with_background(logits_BKDHW: Tensor) -> Tensor:
    """Put background's logit 0 in front of the classes'."""
    return F.pad(logits_BKDHW, (0, 0, 0, 0, 0, 0, 1, 0))


def region_log_odds(logits_BKDHW: Tensor, members_RK: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of the sum p of the softmax probabilities of a region's classes.

    Args:
        logits_BKDHW: of the classes; background's is 0.
        members_RK: which classes make up each region, bool.
    """
    scores_BKDHW = with_background(logits_BKDHW.float())
    inside_RK = F.pad(members_RK, (1, 0))
    rows = []
    for inside_K in inside_RK:
        within_BDHW = scores_BKDHW[:, inside_K].logsumexp(1)
        rows.append(within_BDHW - scores_BKDHW[:, ~inside_K].logsumexp(1))
    return torch.stack(rows, 1)
