import itertools
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tsfm_pipeline.evaluation.metrics import SCORES_SCHEMA, dice
from tsfm_pipeline.evaluation.threshold import (
    fit_thresholds,
    score_thresholds,
    threshold_baseline,
)
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable

TABLE = LabelTable(
    targets={"liver": 5, "liver_tumor": 25}, regions={"liver": ("liver", "liver_tumor")}
)
SHAPE = (10, 12, 14)


def overlapping_case(seed, shape=SHAPE, channels=1):
    """Background and liver overlap in intensity; whole HU, so that intervals can be listed."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    labels[: shape[0] // 2] = 5
    labels[:2, :3, :3] = 25
    means = np.select([labels == 5, labels == 25], [60.0, 30.0], 40.0)
    image = np.rint(rng.normal(means, 8, (channels, *shape))).astype(np.float32)
    return image, labels


def mean_dice(cases, low, high, ids=(5, 25)):
    scores = [
        dice(np.isin(labels, ids), (image[0] >= low) & (image[0] <= high))
        for image, labels in cases
    ]
    return float(np.mean(scores))


def test_the_interval_is_the_best_of_all_intervals():
    cases = {name: overlapping_case(seed) for seed, name in enumerate("abc")}
    rules = fit_thresholds(cases.__getitem__, {name: ("liver",) for name in cases}, TABLE)
    values = np.unique(np.concatenate([image.ravel() for image, _ in cases.values()]))
    best = max(
        mean_dice(cases.values(), low, high)
        for low, high in itertools.combinations_with_replacement(values, 2)
    )
    rule = rules["liver"]
    assert rule.training_dice == pytest.approx(mean_dice(cases.values(), rule.low, rule.high))
    assert rule.training_dice == pytest.approx(best, abs=2e-3)
    assert 0.6 < best < 0.95


def test_each_region_has_a_rule_from_the_cases_that_contain_it():
    image, labels = overlapping_case(0)
    healthy = np.where(labels == 25, 5, labels).astype(np.uint8)
    cases = {"ill": (image, labels), "healthy": (image, healthy)}
    regions = ("liver", "liver_tumor")
    both = fit_thresholds(cases.__getitem__, dict.fromkeys(cases, regions), TABLE)
    alone = fit_thresholds(cases.__getitem__, {"ill": regions}, TABLE)
    assert both["liver_tumor"] == alone["liver_tumor"]
    assert fit_thresholds(cases.__getitem__, {"healthy": ("liver_tumor",)}, TABLE) == {}


def test_the_telling_channel_is_found():
    image, labels = overlapping_case(0, channels=3)
    image[1] = np.where(labels > 0, 7, -7)
    rules = fit_thresholds(lambda _: (image, labels), {"a": ("liver",)}, TABLE)
    assert (rules["liver"].channel, rules["liver"].training_dice) == (1, 1.0)


def test_held_out_cases_are_scored_inside_the_nonzero_mask():
    image, labels = overlapping_case(0)
    rules = fit_thresholds(lambda _: (image, labels), {"a": ("liver",)}, TABLE)
    other, reference = overlapping_case(9)
    reference[-1] = OUTSIDE
    regions = ("liver", "liver_tumor")
    liver, tumor = score_thresholds(rules, other, reference, regions, TABLE, (1.0, 2.0, 2.5))
    rule = rules["liver"]
    prediction = (other[0] >= rule.low) & (other[0] <= rule.high)
    prediction[-1] = False
    assert liver["dice"] == pytest.approx(dice(np.isin(reference, (5, 25)), prediction))
    assert tumor["prediction_voxels"] == 0  # no rule
    assert tumor["dice"] == 0.0
    assert liver["prediction_ml"] == pytest.approx(np.count_nonzero(prediction) * 5 / 1000)


class Record:
    def __init__(self, key, modality, annotated):
        self.dataset, self.case = key.split("/")
        self.modality = modality
        self.patient = key
        self.geometry = SimpleNamespace(spacing=(1.0, 1.0, 1.0))
        self.annotated = annotated


class Store:
    """CT livers are bright, MR livers are dark; the MR cases do not annotate tumours."""

    def record(self, key):
        if "mr" in key:
            return Record(key, "MR", ("liver",))
        return Record(key, "CT", ("liver", "liver_tumor"))

    def read_labels(self, key):
        return overlapping_case(0)[1]

    def read_image(self, key):
        _, labels = overlapping_case(0)
        sign = -1 if "mr" in key else 1
        return sign * labels[None].astype(np.float32)


def test_modalities_are_fitted_apart_and_rows_are_scores():
    scores = threshold_baseline(
        Store(), ["d/ct1", "d/mr1", "d/mr2"], ["d/ct9", "d/mr9"], TABLE, "pretrain.threshold"
    )
    assert list(scores.columns) == SCORES_SCHEMA.names
    assert scores["dice"].tolist() == [1.0, 1.0, 1.0]
    assert scores["case"].tolist() == ["ct9", "ct9", "mr9"]
    assert set(scores["weights"]) == {"only"}
    assert set(scores["protocol"]) == {"automatic"}
    assert scores["nsd"].isna().all()
    assert not scores["dice"].map(math.isnan).any()


def test_a_target_of_phantom_size_takes_less_than_a_second():
    cases = {str(i): overlapping_case(i, (50, 50, 50)) for i in range(8)}
    start = time.perf_counter()
    fit_thresholds(cases.__getitem__, dict.fromkeys(cases, ("liver", "liver_tumor")), TABLE)
    assert time.perf_counter() - start < 2
