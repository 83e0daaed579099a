"""The losses: MultiTalent's masked one, nnU-Net's softmax one, and the pseudo-Dice's counts.

Both are a cross-entropy, which is a sum over samples, minus a batch Dice, which is not: it needs
the counts of the GLOBAL batch. A process (or micro-batch) therefore adds the counts of the others
as constants to its own; gradients that are then SUMMED over the parts are those of the whole
batch, because d Dice / d theta = sum over parts of (d Dice / d counts) (d counts / d theta).

Shape suffixes: B batch, K channels (regions or classes), P annotated (sample, channel) pairs, M
targets of a region, L deep-supervision levels, D/H/W voxels, V voxels in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.network.regions import class_members, region_log_odds, with_background
from tsfm_pipeline.training.task import TrainingTask

DICE_FLOOR = 1e-7
SMOOTH = 1e-5
"""nnU-Net's smoothing of the soft Dice."""


@dataclass(frozen=True)
class Terms:
    """The parts of a batch's loss.

    Attributes:
        entropy_L: cross-entropy of each level, finest first, already summed as the loss wants.
        counts_L2K: soft counts of each level and channel: tp, and 2tp + fp + fn.
    """

    entropy_L: Tensor
    counts_L2K: Tensor


class Loss(Protocol):
    """What the training loop asks of a loss."""

    def terms(self, outputs: Sequence[Tensor], labels_BDHW: Tensor, annotated_BK: Tensor) -> Terms:
        """Compute the terms of a (part of a) batch."""

    def dice(self, counts_L2K: Tensor) -> Tensor:
        """Return the Dice term of each level (L) from the counts of a whole batch."""

    def region_logits(self, logits_BKDHW: Tensor) -> Tensor:
        """Return one logit per region, > 0 where its probability is above one half."""


def combine(loss: Loss, entropy_L: Tensor, counts_L2K: Tensor) -> Tensor:
    """Weight and sum the levels: cross-entropy minus Dice."""
    weights_L = entropy_L.new_tensor(supervision_weights(len(entropy_L)))
    return (weights_L * (entropy_L - loss.dice(counts_L2K))).sum()


def supervision_weights(levels: int) -> list[float]:
    """Weights 2^-i of the outputs, finest first, summing to 1 (3 levels: 4/7, 2/7, 1/7)."""
    total = sum(0.5**level for level in range(levels))
    return [0.5**level / total for level in range(levels)]


class RegionLoss:
    """Voxel-mean BCE summed over annotated pairs, minus batch Dice summed over channels.

    Dice of a channel is 2tp / (2tp + fp + fn) of the soft counts, summed over the batch's samples
    that annotate it, without smoothing. A channel that a sample does not annotate is not read, so
    its gradient is exactly zero. Summing, not averaging, keeps the gradient of a class independent
    of how many others its dataset labels (MultiTalent_Trainer_DDP.compute_loss).

    Args:
        ids_KM: stored integers of each region, from `region_ids` below.
    """

    def __init__(self, ids_KM: Tensor) -> None:
        self.ids_KM = ids_KM

    def terms(self, outputs: Sequence[Tensor], labels_BDHW: Tensor, annotated_BK: Tensor) -> Terms:
        """Compute the terms.

        Args:
            outputs: logits (B, K, ...) on the full and coarser grids; computed in float32.
            labels_BDHW: stored integers, uint8.
            annotated_BK: which channels each sample annotates.
        """
        pairs_P2 = annotated_BK.nonzero()
        channel_P = pairs_P2[:, 1]
        entropies, counts = [], []
        for logits_BKDHW in outputs:
            logits_PV = logits_BKDHW.flatten(2)[pairs_P2[:, 0], channel_P].float()
            coarse_BDHW = coarse_labels(labels_BDHW, logits_BKDHW.shape[2:])
            targets_PV = binary_targets(coarse_BDHW, self.ids_KM, pairs_P2).float()
            bce_PV = F.binary_cross_entropy_with_logits(logits_PV, targets_PV, reduction="none")
            entropies.append(bce_PV.mean(1).sum())
            probabilities_PV = logits_PV.sigmoid()
            overlap_P = (probabilities_PV * targets_PV).sum(1)
            volume_P = probabilities_PV.sum(1) + targets_PV.sum(1)  # 2tp + fp + fn
            counts_2P = torch.stack((overlap_P, volume_P))
            zero_2K = counts_2P.new_zeros(2, annotated_BK.shape[1])
            counts.append(zero_2K.index_add(1, channel_P, counts_2P))
        return Terms(torch.stack(entropies), torch.stack(counts))

    def dice(self, counts_L2K: Tensor) -> Tensor:
        """Return the Dice summed over channels."""
        overlap_LK, volume_LK = counts_L2K.unbind(1)
        return (2 * overlap_LK / volume_LK.clamp(min=DICE_FLOOR)).sum(1)

    def region_logits(self, logits_BKDHW: Tensor) -> Tensor:
        """Return the logits: channels are regions."""
        return logits_BKDHW


class SoftmaxLoss:
    """nnU-Net's cross-entropy plus batch Dice of exclusive classes (`DC_and_CE_loss`).

    Background is a class whose logit is 0 everywhere: a softmax knows differences only. The
    cross-entropy is the mean over voxels and samples, the Dice the mean over the classes but
    background, smoothed by 1e-5. Every sample must annotate every class.

    Args:
        ids_K: the stored integer of each class; all others are background.
        members_RK: which classes make up each region, bool.
        batch_size: samples of the global batch.
    """

    def __init__(self, ids_K: Tensor, members_RK: Tensor, batch_size: int) -> None:
        self.members_RK = members_RK
        self.batch_size = batch_size
        self._class_of = torch.zeros(256, dtype=torch.int64, device=ids_K.device)
        self._class_of[ids_K.long()] = torch.arange(1, len(ids_K) + 1, device=ids_K.device)

    def terms(self, outputs: Sequence[Tensor], labels_BDHW: Tensor, annotated_BK: Tensor) -> Terms:
        """Compute the terms; `annotated_BK` is not read."""
        entropies, counts = [], []
        for logits_BKDHW in outputs:
            coarse_BDHW = coarse_labels(labels_BDHW, logits_BKDHW.shape[2:])
            classes_BDHW = self._class_of[coarse_BDHW.long()]
            log_BKDHW = F.log_softmax(with_background(logits_BKDHW.float()), 1)
            entropies.append(F.nll_loss(log_BKDHW, classes_BDHW) * len(labels_BDHW))
            probabilities_BKV = log_BKDHW[:, 1:].exp().flatten(2)
            channels = probabilities_BKV.shape[1]
            one_hot_BVK = F.one_hot(classes_BDHW.flatten(1), channels + 1)[..., 1:]
            targets_BKV = one_hot_BVK.transpose(1, 2).float()
            overlap_K = (probabilities_BKV * targets_BKV).sum((0, 2))
            volume_K = probabilities_BKV.sum((0, 2)) + targets_BKV.sum((0, 2))
            counts.append(torch.stack((overlap_K, volume_K)))
        return Terms(torch.stack(entropies) / self.batch_size, torch.stack(counts))

    def dice(self, counts_L2K: Tensor) -> Tensor:
        """Return the smoothed Dice averaged over classes."""
        overlap_LK, volume_LK = counts_L2K.unbind(1)
        return ((2 * overlap_LK + SMOOTH) / (volume_LK + SMOOTH)).mean(1)

    def region_logits(self, logits_BKDHW: Tensor) -> Tensor:
        """Return the log-odds of each region's summed class probability."""
        return region_log_odds(logits_BKDHW, self.members_RK)


def make_loss(task: TrainingTask, device: torch.device) -> Loss:
    """Build the loss that the task's settings name."""
    if task.settings.loss == "regions":
        return RegionLoss(region_ids(task.table, task.regions).to(device))
    classes = task.table.exclusive_targets(task.regions)
    ids_K = torch.tensor([task.table.id_of(name) for name in classes])
    members_RK = class_members(task.table, task.regions)
    return SoftmaxLoss(ids_K.to(device), members_RK.to(device), task.settings.batch_size)


def coarse_labels(labels_BDHW: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the labels of a deep-supervision level: every 1st, 2nd, 4th, ... voxel of each axis.

    Those are the voxels that stride-2 convolutions are centred on (nnU-Net: nearest neighbour).

    Args:
        labels_BDHW: on the input's grid.
        grid: voxels (z, y, x) of the level; sides were halved upwards.
    """
    steps = []
    for side, coarse in zip(labels_BDHW.shape[1:], grid, strict=True):
        step = 1
        while -(-side // step) > coarse:
            step *= 2
        steps.append(step)
    z, y, x = steps
    return labels_BDHW[:, ::z, ::y, ::x]


def region_ids(table: LabelTable, regions: Sequence[str]) -> Tensor:
    """Return the stored integers of each region, (K, M) uint8, short rows filled by repetition.

    Among them are those of the parts that other datasets label (`LabelTable.compositions`).
    """
    ids = [table.composed_ids(region) for region in regions]
    longest = max(map(len, ids))
    return torch.tensor([(*row, *[row[0]] * (longest - len(row))) for row in ids]).byte()


def binary_targets(labels_BDHW: Tensor, ids_KM: Tensor, pairs_P2: Tensor) -> Tensor:
    """Build the binary targets (P, V) of the pairs from the stored integer map.

    Every other integer is background for a region, OUTSIDE included.
    """
    labels_PV = labels_BDHW.flatten(1)[pairs_P2[:, 0]]
    ids_PM = ids_KM[pairs_P2[:, 1]]
    targets_PV = labels_PV == ids_PM[:, :1]
    for column in range(1, ids_PM.shape[1]):
        targets_PV |= labels_PV == ids_PM[:, column, None]
    return targets_PV


def confusion_counts(
    logits_BKDHW: Tensor, labels_BDHW: Tensor, annotated_BK: Tensor, ids_KM: Tensor
) -> Tensor:
    """Count tp, fp, fn (3, K) of logits > 0 over the annotated pairs of a batch."""
    pairs_P2 = annotated_BK.nonzero()
    predicted_PV = logits_BKDHW.flatten(2)[pairs_P2[:, 0], pairs_P2[:, 1]] > 0
    targets_PV = binary_targets(labels_BDHW, ids_KM, pairs_P2)
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
