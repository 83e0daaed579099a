"""Which dataset supervises which channel."""

from collections.abc import Mapping
from typing import get_args

import pandas as pd

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.sources.source import Modality, Source

YES = "yes"


def supervision(datasets: Mapping[str, Source], table: LabelTable) -> pd.DataFrame:
    """Tabulate which dataset annotates which region.

    Args:
        datasets: those to show, by name.
        table: the fused label table, in its reading.

    Returns:
        A row per dataset (index `dataset`), a column per region that any of them annotates, in
        table order; cells are "yes" (by its label or by all parts of it), "not MR" (its MR cases
        do not annotate it), "not CT", or "" where the loss of the region ignores the dataset's
        cases.
    """
    given = {
        (dataset, modality): set(
            table.regions_supervised_by(source.annotated_targets(modality, table))
        )
        for dataset, source in datasets.items()
        for modality in get_args(Modality)
    }
    labelled = {
        target
        for source in datasets.values()
        for modality in get_args(Modality)
        for target in source.annotated_targets(modality, table)
    }
    regions = table.regions_annotated_by(tuple(labelled))
    rows = [
        [
            _cell({m for m in get_args(Modality) if region in given[dataset, m]})
            for region in regions
        ]
        for dataset in datasets
    ]
    return pd.DataFrame(rows, index=pd.Index(list(datasets), name="dataset"), columns=regions)


def _cell(modalities: set[str]) -> str:
    missing = set(get_args(Modality)) - modalities
    if not modalities:
        return ""
    return f"not {missing.pop()}" if missing else YES
