"""MultiTalent's masked loss, and the counts behind the pseudo-Dice.

Shape suffixes: B batch, K channels (regions), P annotated (sample, channel) pairs, M targets of
a region, D/H/W voxels, V voxels in a row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm_pipeline.imaging.labels import LabelTable

DICE_FLOOR = 1e-7


def supervision_weights(levels: int) -> list[float]:
    """Weights 2^-i of the outputs, finest first, summing to 1 (3 levels: 4/7, 2/7, 1/7)."""
    total = sum(0.5**level for level in range(levels))
    return [0.5**level / total for level in range(levels)]


def region_ids(table: LabelTable, regions: Sequence[str]) -> Tensor:
    """Return the stored integers of each region, (K, M) uint8, short rows filled by repetition."""
    ids = [table.region_ids(region) for region in regions]
    longest = max(map(len, ids))
    return torch.tensor([(*row, *[row[0]] * (longest - len(row))) for row in ids]).byte()


def region_targets(labels_BDHW: Tensor, ids_KM: Tensor, pairs_P2: Tensor) -> Tensor:
    """Build the binary targets (P, V) of the pairs from the stored integer map.

    Every other integer is background for a region, OUTSIDE included.
    """
    labels_PV = labels_BDHW.flatten(1)[pairs_P2[:, 0]]
    ids_PM = ids_KM[pairs_P2[:, 1]]
    targets_PV = labels_PV == ids_PM[:, :1]
    for column in range(1, ids_PM.shape[1]):
        targets_PV |= labels_PV == ids_PM[:, column, None]
    return targets_PV


def masked_loss(
    logits_BKDHW: Tensor, labels_BDHW: Tensor, annotated_BK: Tensor, ids_KM: Tensor
) -> Tensor:
    """Voxel-mean BCE summed over annotated pairs, minus batch Dice summed over channels.

    Dice of a channel is 2tp / (2tp + fp + fn) of the soft counts, summed over the batch's samples
    that annotate it, without smoothing. A channel that a sample does not annotate is not read, so
    its gradient is exactly zero. Summing, not averaging, keeps the gradient of a class independent
    of how many others its dataset labels (MultiTalent_Trainer_DDP.compute_loss).

    Args:
        logits_BKDHW: network output, any float type; computed in float32.
        labels_BDHW: stored integers, uint8.
        annotated_BK: which channels each sample annotates.
        ids_KM: from `region_ids`.
    """
    pairs_P2 = annotated_BK.nonzero()
    channel_P = pairs_P2[:, 1]
    logits_PV = logits_BKDHW.flatten(2)[pairs_P2[:, 0], channel_P].float()
    targets_PV = region_targets(labels_BDHW, ids_KM, pairs_P2).float()
    bce_P = F.binary_cross_entropy_with_logits(logits_PV, targets_PV, reduction="none").mean(1)
    probabilities_PV = logits_PV.sigmoid()
    overlap_P = (probabilities_PV * targets_PV).sum(1)
    volume_P = probabilities_PV.sum(1) + targets_PV.sum(1)  # 2tp + fp + fn
    zero_K = logits_PV.new_zeros(annotated_BK.shape[1])
    overlap_K = zero_K.index_add(0, channel_P, overlap_P)
    volume_K = zero_K.index_add(0, channel_P, volume_P)
    dice_K = 2 * overlap_K / volume_K.clamp(min=DICE_FLOOR)
    return bce_P.sum() - dice_K.sum()


def deep_supervision_loss(
    outputs: Sequence[Tensor], labels_BDHW: Tensor, annotated_BK: Tensor, ids_KM: Tensor
) -> Tensor:
    """Weighted sum of `masked_loss` over outputs on the full, half, quarter... grid.

    Labels of a coarser grid are every second voxel, the ones its stride-2 convolutions are
    centred on (nnU-Net: nearest neighbour).
    """
    loss = outputs[0].new_zeros((), dtype=torch.float32)
    for level, weight in enumerate(supervision_weights(len(outputs))):
        step = 2**level
        coarse_BDHW = labels_BDHW[:, ::step, ::step, ::step]
        loss = loss + weight * masked_loss(outputs[level], coarse_BDHW, annotated_BK, ids_KM)
    return loss


def hard_counts(
    logits_BKDHW: Tensor, labels_BDHW: Tensor, annotated_BK: Tensor, ids_KM: Tensor
) -> Tensor:
    """Count tp, fp, fn (3, K) of logits > 0 over the annotated pairs of a batch."""
    pairs_P2 = annotated_BK.nonzero()
    predicted_PV = logits_BKDHW.flatten(2)[pairs_P2[:, 0], pairs_P2[:, 1]] > 0
    targets_PV = region_targets(labels_BDHW, ids_KM, pairs_P2)
    true_positive_P = (predicted_PV & targets_PV).sum(1)
    counts_3P = torch.stack(
        (
            true_positive_P,
            predicted_PV.sum(1) - true_positive_P,
            targets_PV.sum(1) - true_positive_P,
        )
    )
    counts_3K = counts_3P.new_zeros(3, annotated_BK.shape[1])
    return counts_3K.index_add(1, pairs_P2[:, 1], counts_3P)
