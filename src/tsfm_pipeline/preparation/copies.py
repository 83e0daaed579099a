"""Cases that are one scan under two names in one dataset: both train, and nobody is told."""

import logging

import pandas as pd

from tsfm_pipeline.preparation.verdict import Verdict

logger = logging.getLogger(__name__)

MOST_NAMED = 10
"""Groups of copies that one warning names."""


def exact_copies(catalogue: pd.DataFrame, integrity: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Find usable cases of one dataset that are one scan: the same voxels, whatever their labels.

    Args:
        catalogue: the pool catalogue.
        integrity: the integrity table. Its digest of the image files counts for cases that were
            stored before voxels were digested.

    Returns:
        Dataset -> names of the cases of each group of copies; datasets without any are left out.
    """
    usable = catalogue[catalogue["verdict"] == Verdict.OK]
    of_files = usable["key"].map(integrity.set_index("key")["image_digest"])
    scan = usable["voxel_digest"].where(usable["voxel_digest"] != "", of_files)
    copies: dict[str, list[list[str]]] = {}
    for (dataset, _), cases in usable.groupby(["dataset", scan], sort=False)["case"]:
        if len(cases) > 1:
            copies.setdefault(str(dataset), []).append(sorted(cases))
    return copies


def warn_of_copies(catalogue: pd.DataFrame, integrity: pd.DataFrame) -> None:
    """Say once per dataset which of its cases are copies of one another."""
    for dataset, groups in exact_copies(catalogue, integrity).items():
        more = f" and {len(groups) - MOST_NAMED} more" if groups[MOST_NAMED:] else ""
        logger.warning(
            "%s: one scan under several names, trained on twice or validated on what was trained:"
            " %s%s; leave all but one of each out with `datasets.%s.left_out`",
            dataset,
            ", ".join(" = ".join(names) for names in groups[:MOST_NAMED]),
            more,
            dataset,
        )
