"""Audit the labels of prepared cases, from what the store keeps of each.

The store has up to 10,000 voxels of every target, drawn at random: their mean is its centre. So
nothing is computed while a case is prepared, and cases that were stored earlier are audited, too.
"""

import logging

import numpy as np
import pandas as pd
from tqdm import tqdm

from tsfm_pipeline.imaging.labels import LabelTable
from tsfm_pipeline.preparation.anatomy import TargetPlace, doubts_about
from tsfm_pipeline.preparation.settings import AuditSettings
from tsfm_pipeline.preparation.verdict import Verdict
from tsfm_pipeline.store.case_store import CaseStore

logger = logging.getLogger(__name__)

MIRRORED_REMEDY = (
    "correct the header or the labels; if you looked at it and it is sound, name it in"
    " `audit.reviewed`; audit.exclude_mirrored=false keeps all such cases"
)


def audit_labels(
    catalogue: pd.DataFrame, store: CaseStore, table: LabelTable, settings: AuditSettings
) -> pd.DataFrame:
    """Look at the labels of every usable case of a pool catalogue.

    Returns:
        The catalogue with the column `doubts`: what is odd about a case's labels, missing where
        nothing is. A case in which left and right are exchanged is quarantined for it, unless
        `exclude_mirrored` is off.
    """
    unknown = sorted(set(settings.reviewed) - set(catalogue["key"]))
    if unknown:
        logger.warning("audit.reviewed names no case of the pool: %s", ", ".join(unknown))
    partners = {
        table.plain_name(name): table.plain_name(other)
        for name, other in table.side_partners().items()
    }
    audited = catalogue.assign(doubts=None)
    usable = (audited["verdict"] == Verdict.OK) & ~audited["key"].isin(settings.reviewed)
    mirrored = 0
    keys = audited.loc[usable, "key"].items()
    bar = tqdm(keys, "Auditing labels", int(usable.sum()), unit="case", disable=None)
    for row, key in bar:
        places = target_places(key, store, table)
        doubts = doubts_about(places, partners, settings)
        found = [doubts.mirrored, *doubts.others] if doubts.mirrored else list(doubts.others)
        if found:
            audited.at[row, "doubts"] = "; ".join(found)
        if doubts.mirrored and settings.exclude_mirrored:
            audited.at[row, "verdict"] = Verdict.QUARANTINED
            audited.at[row, "cause"] = f"{doubts.mirrored}; {MIRRORED_REMEDY}"
            mirrored += 1
    doubtful = int(audited["doubts"].notna().sum())
    logger.log(
        logging.WARNING if mirrored else logging.INFO,
        "Audited the labels of %d cases: %d doubtful, of which %d are quarantined as mirrored (all"
        " are in the pool catalogue and on its page)",
        usable.sum(),
        doubtful,
        mirrored,
    )
    return audited


def target_places(key: str, store: CaseStore, table: LabelTable) -> dict[str, TargetPlace]:
    """Return where each target of a stored case lies, by its name without the dataset."""
    record = store.record(key)
    spacing = np.asarray(record.geometry.spacing)
    last = np.asarray(record.geometry.shape) - 1
    names = {value: table.plain_name(name) for name, value in table.targets.items()}
    places = {}
    for value, voxels in store.foreground(key).items():
        z, y, x = (float(step) for step in voxels.mean(axis=0) * spacing)
        places[names[value]] = TargetPlace(
            centre=(z, y, x),
            ml=record.target_voxels[value] * float(spacing.prod()) / 1000,
            at_edge=bool((voxels == 0).any() or (voxels == last).any()),
        )
    return places
