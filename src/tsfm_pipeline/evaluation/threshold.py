"""The baseline that learns nothing but two numbers: the best intensity interval per target.

A trained network has to beat it clearly; where it does not, the data are too easy or the network
has learned nothing. The baseline is favoured wherever a choice exists: each region is scored as a
mask of its own, the interval is chosen for the highest mean Dice of the training cases, per
dataset and modality, and on multi-channel images the best channel is taken.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tsfm_pipeline.evaluation.metrics import AUTOMATIC, ONLY, SCORES_SCHEMA, Row, overlap
from tsfm_pipeline.imaging.geometry import TripleFloat
from tsfm_pipeline.imaging.labels import OUTSIDE, LabelTable
from tsfm_pipeline.store.case_store import CaseStore

Image = NDArray[np.float32]
Labels = NDArray[np.uint8]

BASELINE = "pretrain.threshold"
"""The experiment under which the pool's scores of this method stand."""

GRID = 101
"""Candidate bounds per region: quantiles of its own voxels, minimum and maximum included."""


@dataclass(frozen=True)
class ThresholdRule:
    """Voxels of `channel` within [low, high] are the region.

    Attributes:
        channel: image channel.
        low: lowest intensity, in the unit of the image.
        high: highest intensity.
        training_dice: mean Dice over the training cases that contain the region.
    """

    channel: int
    low: float
    high: float
    training_dice: float


def fit_thresholds(
    load: Callable[[str], tuple[Image, Labels]],
    training: dict[str, Sequence[str]],
    table: LabelTable,
) -> dict[str, ThresholdRule]:
    """Find the interval of highest mean training Dice for every region.

    An optimal bound is an intensity that occurs in the region: moving it further out adds only
    background. So the candidates are quantiles of the region's own voxels; all intervals between
    two of them are compared at once by counting below the bounds in sorted intensities.

    Args:
        load: returns a case's image (c, z, y, x) and fused labels (z, y, x) by its key.
        training: case key -> the regions that this case annotates.
        table: says which integers a region joins.

    Returns:
        A rule per region; a region that no training case contains has none.
    """
    quantiles: dict[tuple[str, int], list[Image]] = defaultdict(list)
    for key, regions in training.items():
        image, labels = load(key)
        for region in regions:
            mask = _mask(labels, region, table)
            for channel in range(len(image)) if mask.any() else ():
                values = image[channel][mask]
                quantiles[region, channel].append(np.quantile(values, _fractions()))
    bounds = {
        pair: np.unique(np.quantile(np.concatenate(values), _fractions()))
        for pair, values in quantiles.items()
    }

    dice_sums = {pair: np.zeros((len(edges), len(edges))) for pair, edges in bounds.items()}
    for key, regions in training.items():
        image, labels = load(key)
        for channel, volume in enumerate(image):
            everything = np.sort(volume[labels != OUTSIDE])
            for region in regions:
                mask = _mask(labels, region, table)
                if mask.any():
                    edges = bounds[region, channel]
                    found = _counts_within(np.sort(volume[mask]), edges)
                    selected = _counts_within(everything, edges)
                    total = np.maximum(selected + np.count_nonzero(mask), 1)
                    dice_sums[region, channel] += 2 * found / total

    rules: dict[str, ThresholdRule] = {}
    for (region, channel), sums in dice_sums.items():
        low, high = np.unravel_index(int(sums.argmax()), sums.shape)
        edges = bounds[region, channel]
        score = float(sums.max()) / len(quantiles[region, channel])
        if region not in rules or score > rules[region].training_dice:
            rules[region] = ThresholdRule(channel, float(edges[low]), float(edges[high]), score)
    return rules


def score_thresholds(
    rules: dict[str, ThresholdRule],
    image: Image,
    labels: Labels,
    regions: Sequence[str],
    table: LabelTable,
    spacing: TripleFloat,
) -> list[Row]:
    """Apply the rules to a held-out case; a region without a rule is predicted nowhere.

    Returns:
        A row per region: target, and what `metrics.overlap` returns, counted on the stored grid of
        `spacing` mm. The surfaces and components of scattered voxels would say nothing more.
    """
    rows: list[Row] = []
    for region in regions:
        reference = _mask(labels, region, table)
        prediction = np.zeros_like(reference)
        if region in rules:
            rule = rules[region]
            volume = image[rule.channel]
            prediction = (volume >= rule.low) & (volume <= rule.high) & (labels != OUTSIDE)
        name = table.plain_name(region)
        rows.append({"target": name, **overlap(reference, prediction, spacing)})
    return rows


def threshold_baseline(
    store: CaseStore,
    training: Sequence[str],
    held_out: Sequence[str],
    table: LabelTable,
    experiment: str,
) -> pd.DataFrame:
    """Fit on the training cases and score the held-out ones, per dataset and modality.

    Args:
        store: holds all cases.
        training: keys to fit on.
        held_out: keys to score.
        table: targets and regions.
        experiment: name written into the rows.

    Returns:
        Rows of SCORES_SCHEMA; `weights` is 'only'; surface distances and lesions are NaN.
    """

    def load(key: str) -> tuple[Image, Labels]:
        return store.read_image(key), store.read_labels(key)

    groups: dict[tuple[str, str], tuple[dict[str, Sequence[str]], list[str]]] = {}
    for keys, place in ((training, 0), (held_out, 1)):
        for key in keys:
            record = store.record(key)
            group = groups.setdefault((record.dataset, record.modality), ({}, []))
            if place == 0:
                group[0][key] = table.regions_annotated_by(record.annotated)
            else:
                group[1].append(key)

    rows: list[Row] = []
    for fitted_on, scored in groups.values():
        rules = fit_thresholds(load, fitted_on, table)
        for key in scored:
            record = store.record(key)
            image, labels = load(key)
            regions = table.regions_annotated_by(record.annotated)
            spacing = record.geometry.spacing
            for row in score_thresholds(rules, image, labels, regions, table, spacing):
                rows.append(
                    {
                        "experiment": experiment,
                        "weights": ONLY,
                        "protocol": AUTOMATIC,
                        "dataset": record.dataset,
                        "case": record.case,
                        "patient": record.patient,
                        **row,
                    }
                )
    return pd.DataFrame(rows, columns=SCORES_SCHEMA.names)


def _fractions() -> NDArray[np.float64]:
    return np.linspace(0, 1, GRID)


def _mask(labels: Labels, region: str, table: LabelTable) -> NDArray[np.bool_]:
    return np.isin(labels, table.region_ids(region))


def _counts_within(ordered: Image, edges: Image) -> NDArray[np.int64]:
    """Count the sorted values within [edges[i], edges[j]] for all i, j; none or less for j < i."""
    below = np.searchsorted(ordered, edges, side="left")
    up_to = np.searchsorted(ordered, edges, side="right")
    return np.asarray(up_to[None, :] - below[:, None])
