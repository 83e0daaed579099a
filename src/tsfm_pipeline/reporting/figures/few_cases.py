"""Dice over the number of cases that a transfer trains on."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tsfm_pipeline.reporting.cell_statistics import mean_dice, mean_interval
from tsfm_pipeline.reporting.figures.drawing import Drawing
from tsfm_pipeline.reporting.figures.style import (
    MARKERS,
    PALETTE,
    SMALL,
    TEXT_SIZE,
    caption_of,
    empty_note,
    tidy,
    titled_figure,
)
from tsfm_pipeline.reporting.paper_tables import Scores
from tsfm_pipeline.reporting.provenance import Provenance

RUN_COLUMNS = ("experiment", "dataset", "start", "cases")


def draw_few_cases(
    runs: pd.DataFrame,
    scores: pd.DataFrame,
    parts: Mapping[str, Scores],
    resamples: int,
    provenance: Provenance,
) -> Drawing:
    """Draw a panel per dataset and a line per start.

    Args:
        runs: RUN_COLUMNS; `cases` is how many a training takes, infinity for all that there are.
        scores: rows of `metrics.SCORES_SCHEMA`; the best weights' are used.
        parts: dataset -> what is averaged; all its targets where it has no entry.
        resamples: of the intervals' bootstrap.
        provenance: for the caption, and for what is of an earlier pool and not shown.
    """
    best = scores[scores["weights"] == "best"]
    data = runs[runs["experiment"].isin(best["experiment"]) & runs["cases"].notna()]
    data = data[~data["experiment"].isin(list(provenance.stale))]
    few = data.loc[np.isfinite(data["cases"]), "dataset"]
    data = data[data["dataset"].isin(few)].sort_values(["dataset", "start", "cases"])
    figures = []
    for name, dataset in zip(data["experiment"], data["dataset"], strict=True):
        rows = best[best["experiment"] == name]
        part = parts.get(dataset, Scores(dataset=dataset, targets="all"))
        figures.append((mean_dice(rows, part), *mean_interval(rows, [part], resamples)))
    data[["dice", "low", "high"]] = np.reshape(figures, (len(data), 3))
    figure = _figure(data, provenance)
    return Drawing(figure, data.reset_index(drop=True), on_page=not data.empty)


def _figure(data: pd.DataFrame, provenance: Provenance) -> Figure:
    caption = (
        "Transfers that train on so many cases of the training split, and those of the same budget"
        " that train on all. With 95 % interval (patients resampled). The Dice is that of Table 2,"
        " or of another dataset the mean over its targets."
        f" {caption_of(provenance)}"
    )
    figure = titled_figure(10.5, 3.4, "Dice over the number of transfer cases", caption)
    datasets = list(dict.fromkeys(data["dataset"]))
    panels = figure.subplots(1, max(len(datasets), 1), squeeze=False, sharey=True)[0]
    if not datasets:
        empty_note(panels[0], "no few-case transfer was run (study.few...)")
    starts, numbers = list(dict.fromkeys(data["start"])), sorted(set(data["cases"]))
    place = {number: i for i, number in enumerate(numbers)}
    for axes, dataset in zip(panels, datasets, strict=False):
        for i, start in enumerate(starts):
            rows = data[(data["dataset"] == dataset) & (data["start"] == start)]
            # a little apart, so that equal curves do not hide each other
            x = rows["cases"].map(place) + 0.08 * (i - (len(starts) - 1) / 2)
            sides = [rows["dice"] - rows["low"], rows["high"] - rows["dice"]]
            axes.errorbar(
                *(x, rows["dice"], np.nan_to_num(sides)),
                **{"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]},
                capsize=2.5,
                lw=1.6,
                markersize=5,
                label=start,
            )
        labels = ["all" if np.isinf(number) else f"{number:g}" for number in numbers]
        axes.set_xticks(list(place.values()), labels)
        axes.set_title(dataset, loc="left", fontsize=TEXT_SIZE)
        axes.set_xlabel("training cases", fontsize=SMALL)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(-0.4, len(place) - 0.6)
        tidy(axes)
    if datasets:
        figure.supylabel("Dice", fontsize=TEXT_SIZE)
        handles, names = panels[0].get_legend_handles_labels()
        place_of_legend = {"loc": "outside lower center", "ncols": 4}
        figure.legend(handles, names, frameon=False, fontsize=SMALL, **place_of_legend)
    return figure
