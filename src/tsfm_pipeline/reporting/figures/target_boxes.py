"""The spread of Dice over cases, target by target."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tsfm_pipeline.evaluation.extra_targets import without_extra
from tsfm_pipeline.evaluation.metrics import ONLY
from tsfm_pipeline.evaluation.settings import EvaluationSettings
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    PALETTE,
    SMALL,
    TEXT_SIZE,
    caption_of,
    empty_note,
    tidy,
    titled_figure,
)
from tsfm_pipeline.reporting.provenance import Provenance

ROW_INCHES = 0.15
MOST_DOTS = 60
"""Cases of one box that are drawn as dots, too."""


def draw_boxes(
    scores: pd.DataFrame,
    experiments: Sequence[str],
    evaluation: EvaluationSettings,
    provenance: Provenance,
) -> Drawing:
    """Draw a box per dataset, target and experiment, tumours first.

    Args:
        scores: rows of `metrics.SCORES_SCHEMA`.
        experiments: which of them; their best weights, or those of a method without checkpoints.
        evaluation: which targets are tumours.
        provenance: for the caption.
    """
    chosen = scores["experiment"].isin(experiments) & scores["weights"].isin(("best", ONLY))
    rows = without_extra(scores[chosen & scores["dice"].notna()])
    rows = rows.assign(tumour=[evaluation.is_tumor(target) for target in rows["target"]])
    rows = rows.sort_values(["tumour", "dataset", "target"], ascending=[False, True, True])
    places = list(dict.fromkeys(zip(rows["dataset"], rows["target"], strict=True)))
    names = [name for name in experiments if name in set(rows["experiment"])]
    caption = (
        "Box: quartiles, line: median, whiskers: the farthest cases within 1.5 box lengths. Dots:"
        f" cases (of at most {MOST_DOTS}). Tumours above the line, organs below."
        f" {caption_of(provenance)}"
    )
    height = 0.8 + ROW_INCHES * max(len(places) * len(names), 4)
    figure = titled_figure(9.0, height, "Dice per case, by dataset and target", caption)
    axes = figure.add_subplot()
    if not places:
        empty_note(axes, "nothing to show")
        return Drawing(figure, rows[["experiment", "dataset", "target", "case", "dice"]])
    random = np.random.default_rng(0)
    step = 0.8 / len(names)
    for i, name in enumerate(names):
        of_name = rows[rows["experiment"] == name]
        groups = {key: group["dice"] for key, group in of_name.groupby(["dataset", "target"])}
        at = [(-j + 0.4 - step * (i + 0.5), place) for j, place in enumerate(places)]
        at = [(y, place) for y, place in at if place in groups]
        colour = PALETTE[i % len(PALETTE)]
        axes.boxplot(
            [groups[place].to_numpy(float) for _, place in at],
            positions=[y for y, _ in at],
            orientation="horizontal",
            widths=step * 0.75,
            manage_ticks=False,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.35, "edgecolor": colour},
            medianprops={"color": "black"},
            whiskerprops={"color": colour},
            capprops={"color": colour},
        )
        for y, place in at:
            dots = groups[place].to_numpy(float)[:MOST_DOTS]
            jitter = random.uniform(-0.25, 0.25, len(dots)) * step
            axes.plot(dots, y + jitter, ".", color=colour, markersize=3)
        axes.plot([], [], "s", color=colour, label=name)
    tumours = sum(evaluation.is_tumor(target) for _, target in places)
    if 0 < tumours < len(places):
        axes.axhline(-tumours + 0.5, color="black", linewidth=0.8)
    axes.set_yticks(-np.arange(len(places)), [f"{d} {t}" for d, t in places])
    axes.set_ylim(-len(places) + 0.5, 0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice", fontsize=TEXT_SIZE)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL)
    return Drawing(figure, rows[["experiment", "dataset", "target", "case", "dice"]])
