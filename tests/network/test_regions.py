"""Regions as sums of a softmax's classes."""

import numpy as np
import pytest
import torch

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.network.regions import RegionsOfClasses, class_members, region_log_odds


def test_region_log_odds_are_those_of_the_summed_probabilities() -> None:
    logits = torch.randn(2, 3, 2, 3, 4).double()
    members = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    p = np.exp(logits.numpy())
    p /= 1 + p.sum(1, keepdims=True)  # background's logit is 0
    odds = region_log_odds(logits, members).sigmoid().numpy()
    assert odds[:, 0] == pytest.approx(p[:, 0] + p[:, 1], rel=1e-5)
    assert odds[:, 1] == pytest.approx(p[:, 1], rel=1e-5)
    assert odds[:, 2] == pytest.approx(p[:, 2], rel=1e-5)


def test_members_are_the_classes_of_a_region_in_their_order() -> None:
    table = LabelTable(
        targets={"spleen": 1, "liver": 5, "liver_tumor": 25},
        regions={"liver": ("liver", "liver_tumor")},
    )
    members = class_members(table, ("spleen", "liver"))
    assert members.tolist() == [[True, False, False], [False, True, True]]
    network = RegionsOfClasses(torch.nn.Identity(), members)
    assert network(torch.zeros(1, 3, 2, 2, 2)).shape == (1, 2, 2, 2, 2)
