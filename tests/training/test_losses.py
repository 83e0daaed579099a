"""The loss against MultiTalent's formula written out in NumPy, sample by sample."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.training.losses import (
    Loss,
    RegionLoss,
    SoftmaxLoss,
    combine,
    confusion_counts,
    region_ids,
    supervision_weights,
)

TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25, "spleen": 1, "kidney": 22},
    regions={"liver": ("liver", "liver_tumor")},
)
REGIONS = ("liver", "liver_tumor", "spleen", "kidney")
MEMBERS = ((5, 25), (25,), (1,), (22,))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 6, 5, 4, generator=generator, dtype=torch.double)
    values = torch.tensor([0, 1, 5, 22, 25, OUTSIDE])
    labels = values[torch.randint(6, (3, 6, 5, 4), generator=generator)].byte()
    annotated = torch.tensor(
        [[True, True, False, False], [False, False, True, False], [True, False, True, False]]
    )
    return logits, labels, annotated


def _whole_loss(
    loss: Loss, outputs: list[torch.Tensor], labels: torch.Tensor, annotated: torch.Tensor
) -> torch.Tensor:
    terms = loss.terms(outputs, labels, annotated)
    return combine(loss, terms.entropy_L, terms.counts_L2K)


def masked_loss(
    logits: torch.Tensor, labels: torch.Tensor, annotated: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    return _whole_loss(RegionLoss(ids), [logits], labels, annotated)


def _formula(
    logits: NDArray[np.float64], labels: NDArray[np.uint8], annotated: NDArray[np.bool_]
) -> float:
    cross_entropy = 0.0
    counts = np.zeros((3, logits.shape[1]))
    for sample, channel in np.argwhere(annotated):
        truth = np.isin(labels[sample], MEMBERS[channel]).astype(float)
        p = 1 / (1 + np.exp(-logits[sample, channel]))
        cross_entropy += -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
        counts[:, channel] += (p * truth).sum(), (p * (1 - truth)).sum(), ((1 - p) * truth).sum()
    tp, fp, fn = counts
    dice = 2 * tp / np.maximum(2 * tp + fp + fn, 1e-7)
    return float(cross_entropy - dice.sum())


def test_masked_loss_equals_the_formula(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, labels, annotated = batch
    loss = masked_loss(logits, labels, annotated, region_ids(TABLE, REGIONS))
    expected = _formula(logits.numpy(), labels.numpy(), annotated.numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_gradient_equals_numerical_and_is_zero_where_not_annotated(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, labels, annotated = batch
    logits.requires_grad_()
    masked_loss(logits, labels, annotated, region_ids(TABLE, REGIONS)).backward()
    assert logits.grad is not None
    gradient = logits.grad.numpy()
    assert not gradient[~annotated.numpy()].any()
    assert gradient[annotated.numpy()].all()
    base, step = logits.detach().numpy(), 1e-5
    for where in [(0, 0, 1, 2, 3), (0, 1, 5, 4, 3), (1, 2, 0, 0, 0), (2, 2, 3, 3, 1)]:
        up, down = base.copy(), base.copy()
        up[where] += step
        down[where] -= step
        slope = (
            _formula(up, labels.numpy(), annotated.numpy())
            - _formula(down, labels.numpy(), annotated.numpy())
        ) / (2 * step)
        assert gradient[where] == pytest.approx(slope, rel=1e-4)


def test_outside_is_background(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    logits, labels, annotated = batch
    ids = region_ids(TABLE, REGIONS)
    as_background = torch.where(labels == OUTSIDE, 0, labels).byte()
    assert masked_loss(logits, labels, annotated, ids) == masked_loss(
        logits, as_background, annotated, ids
    )


def test_a_batch_without_annotation_moves_nothing() -> None:
    logits = torch.randn(1, 4, 2, 2, 2, requires_grad=True)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    labels = torch.ones(1, 2, 2, 2, dtype=torch.uint8)
    loss = masked_loss(logits, labels, nothing, region_ids(TABLE, REGIONS))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and not logits.grad.any()


KIDNEYS = LabelTable(
    targets={"kidney_right": 2, "kidney_left": 3, "kidney": 22, "kidney_tumor": 23},
    regions={"kidney": ("kidney", "kidney_tumor")},
    compositions={"kidney": ("kidney_left", "kidney_right")},
)


def test_the_union_of_both_kidneys_teaches_the_channel_of_the_kidneys() -> None:
    """KiTS, a sided dataset and one that labels a single side, against sums over voxels."""
    regions = ("kidney", "kidney_left", "kidney_tumor")
    datasets = (("kidney", "kidney_tumor"), ("kidney_left", "kidney_right"), ("kidney_left",))
    values = ((0, 22, 23), (0, 2, 3), (0, 3))
    known = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0]], bool)
    rng = np.random.default_rng(3)
    labels = np.stack([rng.choice(some, (3, 4, 5)) for some in values]).astype(np.uint8)
    is_kidney = labels > 0  # in these cases every labelled voxel is one
    masks = np.stack([is_kidney, labels == 3, labels == 23], 1)
    logits = torch.from_numpy(rng.normal(size=(3, 3, 3, 4, 5))).requires_grad_()
    annotated = torch.tensor(
        [
            [name in KIDNEYS.regions_supervised_by(targets) for name in regions]
            for targets in datasets
        ]
    )
    assert (annotated.numpy() == known).all()
    ids = region_ids(KIDNEYS, regions)
    loss = masked_loss(logits, torch.from_numpy(labels), annotated, ids)
    loss.backward()

    p = 1 / (1 + np.exp(-logits.detach().numpy()))
    expected = 0.0
    for channel in range(3):
        truth, found = masks[known[:, channel], channel], p[known[:, channel], channel]
        expected -= np.log(np.where(truth, found, 1 - found)).mean((1, 2, 3)).sum()
        expected -= 2 * found[truth].sum() / (found.sum() + truth.sum())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert logits.grad is not None
    learning = logits.grad.numpy().any((2, 3, 4))
    assert (learning == known).all()
    hits, _, misses = confusion_counts(logits, torch.from_numpy(labels), annotated, ids).numpy()
    assert hits[0] + misses[0] == is_kidney[:2].sum()


def test_deep_supervision_weights() -> None:
    assert supervision_weights(3) == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_deep_supervision_takes_every_second_label_voxel(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    logits, labels, annotated = batch
    half, quarter = torch.randn(3, 4, 3, 3, 2).double(), torch.randn(3, 4, 2, 2, 1).double()
    region_loss = RegionLoss(region_ids(TABLE, REGIONS))
    loss = _whole_loss(region_loss, [logits, half, quarter], labels, annotated)
    expected = sum(
        weight * _formula(output.numpy(), labels.numpy()[:, ::s, ::s, ::s], annotated.numpy())
        for weight, output, s in ((4 / 7, logits, 1), (2 / 7, half, 2), (1 / 7, quarter, 4))
    )
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_confusion_counts(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    logits, labels, annotated = batch
    counts = confusion_counts(logits, labels, annotated, region_ids(TABLE, REGIONS)).numpy()
    for channel, members in enumerate(MEMBERS):
        chosen = annotated[:, channel].numpy()
        predicted = logits[:, channel].numpy()[chosen] > 0
        truth = np.isin(labels.numpy()[chosen], members)
        expected = [
            (predicted & truth).sum(),
            (predicted & ~truth).sum(),
            (~predicted & truth).sum(),
        ]
        assert counts[:, channel].tolist() == expected


REFERENCE = Path(__file__).parents[1] / "reference" / "nnunet_loss.json"


def test_softmax_loss_equals_nnunets() -> None:
    """Value and gradient of nnU-Net 1.7.1's DC_and_CE_loss (tests/reference/nnunet_loss.py)."""
    reference = json.loads(REFERENCE.read_text())
    logits = torch.tensor(reference["logits"], requires_grad=True)
    labels = torch.tensor(reference["labels"]).byte()
    stored = torch.tensor([0, 9, 3, 200]).byte()[labels.int()]  # classes 1, 2, 3
    loss = SoftmaxLoss(torch.tensor([9, 3, 200]), torch.eye(3).bool(), batch_size=2)
    value = _whole_loss(loss, [logits], stored, torch.ones(2, 3).bool())
    value.backward()
    assert logits.grad is not None
    assert value.item() == pytest.approx(reference["loss"], rel=1e-5)
    assert logits.grad.numpy() == pytest.approx(np.array(reference["gradient"]), abs=1e-6)


@pytest.mark.parametrize("kind", ["regions", "softmax"])
def test_parts_of_a_batch_that_know_the_others_counts_add_up_to_its_gradient(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], kind: str
) -> None:
    logits, labels, annotated = batch
    loss: Loss = RegionLoss(region_ids(TABLE, REGIONS))
    if kind == "softmax":
        loss = SoftmaxLoss(torch.tensor([5, 25, 1, 22]), torch.eye(4).bool(), batch_size=3)
    together = logits.clone().requires_grad_()
    _whole_loss(loss, [together], labels, annotated).backward()

    apart = logits.clone().requires_grad_()
    parts = [slice(0, 2), slice(2, 3)]
    totals = sum(loss.terms([apart[p]], labels[p], annotated[p]).counts_L2K for p in parts)
    assert isinstance(totals, torch.Tensor)
    totals = totals.detach()
    for part in parts:
        terms = loss.terms([apart[part]], labels[part], annotated[part])
        others = totals - terms.counts_L2K.detach()
        combine(loss, terms.entropy_L, terms.counts_L2K + others).backward()
    assert together.grad is not None and apart.grad is not None
    torch.testing.assert_close(apart.grad, together.grad)
